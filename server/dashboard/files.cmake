# Included by server/http/embed.cmake. Sets dashboard_entries: "dashboard/<name>=<path>" for each
# file of the page.
#
# uPlot comes from npm into the build folder, when CMake runs: its version and digest are those of
# package-lock.json. Without npm, or without a network, the build goes on and says so: the page then
# shows its curves as tables. RB_UPLOT_DIR names a folder with the package where npm cannot be used.
set(RB_UPLOT_DIR "" CACHE PATH "folder of an unpacked uplot package, instead of one from npm")

file(GLOB dashboard_files CONFIGURE_DEPENDS
     ${CMAKE_CURRENT_LIST_DIR}/*.html ${CMAKE_CURRENT_LIST_DIR}/*.css
     ${CMAKE_CURRENT_LIST_DIR}/*.js ${CMAKE_CURRENT_LIST_DIR}/*.svg)
set(dashboard_entries "")
foreach(path ${dashboard_files})
  get_filename_component(name ${path} NAME)
  list(APPEND dashboard_entries "dashboard/${name}=${path}")
endforeach()

set(uplot ${RB_UPLOT_DIR})
if(NOT uplot)
  set(npm_folder ${CMAKE_CURRENT_BINARY_DIR}/npm)
  set(uplot ${npm_folder}/node_modules/uplot)
  set(lock ${CMAKE_CURRENT_LIST_DIR}/package-lock.json)
  # npm ci leaves the lock it worked by beside node_modules: the same lock needs no second time.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${lock})
  file(SHA256 ${lock} wanted)
  set(found "")
  if(EXISTS ${uplot}/dist/uPlot.iife.min.js AND EXISTS ${npm_folder}/package-lock.json)
    file(SHA256 ${npm_folder}/package-lock.json found)
  endif()
  if(NOT found STREQUAL wanted)
    find_program(NPM npm)
    file(MAKE_DIRECTORY ${npm_folder})
    file(COPY ${CMAKE_CURRENT_LIST_DIR}/package.json ${lock} DESTINATION ${npm_folder})
    set(npm_failed TRUE)
    set(npm_words "npm is not installed")
    if(NPM)
      execute_process(COMMAND ${NPM} ci --ignore-scripts --no-audit --no-fund
                      WORKING_DIRECTORY ${npm_folder}
                      RESULT_VARIABLE npm_failed OUTPUT_QUIET ERROR_VARIABLE npm_words)
    endif()
    if(npm_failed)
      file(REMOVE ${npm_folder}/package-lock.json)
      message(WARNING "The dashboard is built without uPlot, so it shows curves as tables only: "
                      "${npm_words}\nInstall npm (apt-get install npm) with access to the npm "
                      "registry, or set -DRB_UPLOT_DIR to an unpacked uplot package; then run "
                      "cmake again.")
    endif()
  endif()
endif()
if(EXISTS ${uplot}/dist/uPlot.iife.min.js)
  list(APPEND dashboard_entries
       "dashboard/uplot.js=${uplot}/dist/uPlot.iife.min.js"
       "dashboard/uplot.css=${uplot}/dist/uPlot.min.css"
       "dashboard/uplot-license.txt=${uplot}/LICENSE")
endif()
