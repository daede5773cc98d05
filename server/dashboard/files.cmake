# Included by server/http/embed.cmake. Sets dashboard_entries: "dashboard/<name>=<path>" for each
# file of the page, or "@<file>" with a line of that form for each.
#
# What comes from npm (uPlot, and what packs the modules into one) is fetched when CMake runs, into
# the build folder, by the versions and digests of package-lock.json; pack.mjs runs when rebasind is
# built. Without node and npm, or without a network, the build goes on and says so: the binary then
# carries the modules as they are, and the page shows curves as tables.
file(GLOB sources CONFIGURE_DEPENDS
     ${CMAKE_CURRENT_LIST_DIR}/*.html ${CMAKE_CURRENT_LIST_DIR}/*.css
     ${CMAKE_CURRENT_LIST_DIR}/*.js ${CMAKE_CURRENT_LIST_DIR}/*.svg)

set(npm_folder ${CMAKE_CURRENT_BINARY_DIR}/npm)
set(lock ${CMAKE_CURRENT_LIST_DIR}/package-lock.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${lock})
# The lock beside node_modules is there only after npm ci went well: once per lock is enough.
file(SHA256 ${lock} wanted)
set(found "")
if(EXISTS ${npm_folder}/package-lock.json)
  file(SHA256 ${npm_folder}/package-lock.json found)
endif()
find_program(NODE node)
if(NOT found STREQUAL wanted)
  find_program(NPM npm)
  file(MAKE_DIRECTORY ${npm_folder})
  set(npm_failed TRUE)
  set(npm_words "npm or node is not installed")
  if(NPM AND NODE)
    file(COPY ${CMAKE_CURRENT_LIST_DIR}/package.json ${lock} DESTINATION ${npm_folder})
    execute_process(COMMAND ${NPM} ci --ignore-scripts --no-audit --no-fund
                    WORKING_DIRECTORY ${npm_folder}
                    RESULT_VARIABLE npm_failed OUTPUT_QUIET ERROR_VARIABLE npm_words)
  endif()
  if(npm_failed)
    file(REMOVE ${npm_folder}/package-lock.json)
    message(WARNING "The dashboard is built without uPlot, so it shows curves as tables, and is not "
                    "packed: ${npm_words}\nInstall node and npm (apt-get install npm), let them reach "
                    "the npm registry, and run cmake again.")
  endif()
endif()

if(EXISTS ${npm_folder}/package-lock.json)
  set(dashboard_entries "@${npm_folder}/packed.list") # the names are known once it is packed
  add_custom_command(
    OUTPUT ${npm_folder}/packed.list
    COMMAND ${NODE} ${CMAKE_CURRENT_LIST_DIR}/pack.mjs ${npm_folder}/packed
    WORKING_DIRECTORY ${npm_folder}
    DEPENDS ${sources} ${CMAKE_CURRENT_LIST_DIR}/pack.mjs ${lock}
    COMMENT "Packing the dashboard"
    VERBATIM)
else()
  set(dashboard_entries "")
  foreach(path ${sources})
    get_filename_component(name ${path} NAME)
    list(APPEND dashboard_entries "dashboard/${name}=${path}")
  endforeach()
endif()
