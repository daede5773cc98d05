# Included by server/CMakeLists.txt: puts openapi.yaml, openapi.json and the dashboard's files into
# server_http, so that the binary needs no files beside it.
file(GLOB_RECURSE dashboard RELATIVE ${PROJECT_SOURCE_DIR}/server/dashboard CONFIGURE_DEPENDS
     ${PROJECT_SOURCE_DIR}/server/dashboard/*)
set(entries "")
set(inputs "")
foreach(file openapi.yaml openapi.json)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${file})
    list(APPEND entries "${file}=${PROJECT_SOURCE_DIR}/${file}")
    list(APPEND inputs ${PROJECT_SOURCE_DIR}/${file})
  endif()
endforeach()
foreach(file ${dashboard})
  list(APPEND entries "dashboard/${file}=${PROJECT_SOURCE_DIR}/server/dashboard/${file}")
  list(APPEND inputs ${PROJECT_SOURCE_DIR}/server/dashboard/${file})
endforeach()
set(embedded ${CMAKE_CURRENT_BINARY_DIR}/embedded_files.c)
add_custom_command(
  OUTPUT ${embedded}
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${embedded} "-DFILES=${entries}"
          -P ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
  DEPENDS ${inputs} ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
  VERBATIM)
target_sources(server_http PRIVATE ${embedded})

# Which commit this is; looked up with each build, compiled anew only when it has changed.
set(commit ${CMAKE_CURRENT_BINARY_DIR}/commit.c)
add_custom_target(commit BYPRODUCTS ${commit}
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${commit} -DSOURCE_DIR=${PROJECT_SOURCE_DIR}
          -P ${PROJECT_SOURCE_DIR}/cmake/write_commit.cmake
  VERBATIM)
add_dependencies(server_http commit)
target_sources(server_http PRIVATE ${commit})
