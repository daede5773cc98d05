# Writes OUTPUT, a C file with the commit that SOURCE_DIR is at; leaves it alone if nothing changed.
# Where there is no repository (deploy/Dockerfile), RB_COMMIT in the environment tells it.
execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --dirty --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(commit STREQUAL "" AND "$ENV{RB_COMMIT}" MATCHES "^[0-9a-z.-]+$")
  set(commit "$ENV{RB_COMMIT}")
endif()
set(text "/* Made by cmake/write_commit.cmake. */\n#include \"server/http/commit.h\"\n\n")
string(APPEND text "const char rb_commit[] = \"${commit}\";\n")
set(old "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT old STREQUAL text)
  file(WRITE "${OUTPUT}" "${text}")
endif()
