# Included by server/CMakeLists.txt: puts openapi.yaml, openapi.json and the dashboard's files into
# server_http, so that the binary needs no files beside it.
include(${PROJECT_SOURCE_DIR}/server/dashboard/files.cmake) # dashboard_entries
set(contract ${PROJECT_SOURCE_DIR}/openapi.yaml)
set(contract_json ${CMAKE_CURRENT_BINARY_DIR}/openapi.json)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
execute_process(COMMAND ${Python3_EXECUTABLE} -c "import yaml" RESULT_VARIABLE no_yaml ERROR_QUIET)
if(no_yaml)
  message(FATAL_ERROR "${Python3_EXECUTABLE} has no module yaml, which makes openapi.json of "
                      "openapi.yaml: apt-get install python3-yaml (deploy/install-deps.sh)")
endif()
add_custom_command(
  OUTPUT ${contract_json}
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/yaml_to_json.py ${contract}
          ${contract_json}
  DEPENDS ${contract} ${PROJECT_SOURCE_DIR}/cmake/yaml_to_json.py
  VERBATIM)
add_custom_target(openapi_json DEPENDS ${contract_json}) # for the tests, too
set(entries "openapi.yaml=${contract}" "openapi.json=${contract_json}")
set(inputs ${contract} ${contract_json})
foreach(entry ${dashboard_entries})
  list(APPEND entries ${entry})
  string(REGEX REPLACE "^(@|[^=]*=)" "" path ${entry})
  list(APPEND inputs ${path})
endforeach()
set(embedded ${CMAKE_CURRENT_BINARY_DIR}/embedded_files.c)
add_custom_command(
  OUTPUT ${embedded}
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${embedded} "-DFILES=${entries}"
          -P ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
  DEPENDS ${inputs} ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
  VERBATIM)
target_sources(server_http PRIVATE ${embedded})
add_dependencies(server_http openapi_json)

# Which commit this is; looked up with each build, compiled anew only when it has changed.
set(commit ${CMAKE_CURRENT_BINARY_DIR}/commit.c)
add_custom_target(commit BYPRODUCTS ${commit}
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${commit} -DSOURCE_DIR=${PROJECT_SOURCE_DIR}
          -P ${PROJECT_SOURCE_DIR}/cmake/write_commit.cmake
  VERBATIM)
add_dependencies(server_http commit)
target_sources(server_http PRIVATE ${commit})
