# Writes OUTPUT: the MIGRATIONS (a list of .sql files, numbered from 0001 without a gap) as one C
# array of strings. Run by server/CMakeLists.txt at build time.
list(SORT MIGRATIONS)
set(rows "")
set(number 0)
foreach(file ${MIGRATIONS})
  math(EXPR number "${number} + 1")
  get_filename_component(name ${file} NAME)
  string(REGEX MATCH "^[0-9]+" found ${name})
  string(REGEX REPLACE "^0+" "" found "${found}")
  if(NOT found EQUAL number)
    message(FATAL_ERROR "migrations: expected number ${number}, found ${name}")
  endif()
  # As bytes: no quoting to get wrong, no limit on the length of a literal.
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char sql_${number}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", (const char *)sql_${number}},\n")
endforeach()
file(WRITE ${OUTPUT} "/* Made from migrations/ by cmake/embed_migrations.cmake. */
#include \"server/store/migrations.h\"

${arrays}
const struct rb_migration rb_migrations[] = {
${rows}};
const int rb_migration_count = ${number};
")
