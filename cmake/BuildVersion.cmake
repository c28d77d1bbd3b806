# The generated header sshlease_version.h. SSHLEASE_VERSION there is the project's version, and for a build from git "+g<commit>",
# with ".dirty" where a file differs. A build of the commit that the tag v<version> names, and one without git, have nothing added.
# Included by CMakeLists.txt it makes the header and a target that looks again at each build; run as a script it is that look.
set(version "${PROJECT_VERSION}")
find_package(Git QUIET)
if(GIT_FOUND)
  foreach(question IN ITEMS "commit:describe;--always;--dirty=.dirty;--abbrev=9;--exclude=*" "tag:describe;--exact-match;--match=v${PROJECT_VERSION}"
      "top:rev-parse;--show-toplevel")
    string(REGEX MATCH "^([a-z]+):(.*)$" question "${question}")
    execute_process(COMMAND "${GIT_EXECUTABLE}" ${CMAKE_MATCH_2} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
      OUTPUT_VARIABLE ${CMAKE_MATCH_1} OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endforeach()
  # Only our own repository counts: an unpacked release inside another project's is none of its commits.
  if(commit AND top STREQUAL PROJECT_SOURCE_DIR AND (NOT tag OR commit MATCHES "dirty"))
    set(version "${PROJECT_VERSION}+g${commit}")
  endif()
endif()

set(SSHLEASE_VERSION "${version}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/version.h.in" "${PROJECT_BINARY_DIR}/generated/sshlease_version.h" @ONLY)

if(NOT CMAKE_SCRIPT_MODE_FILE)
  add_custom_target(sshlease_build_version COMMAND "${CMAKE_COMMAND}" "-DPROJECT_VERSION=${PROJECT_VERSION}"
    "-DPROJECT_SOURCE_DIR=${PROJECT_SOURCE_DIR}" "-DPROJECT_BINARY_DIR=${PROJECT_BINARY_DIR}"
    "-DSSHLEASE_LIBSSH2_ORIGIN=${SSHLEASE_LIBSSH2_ORIGIN}" -P "${CMAKE_CURRENT_LIST_FILE}"
    BYPRODUCTS "${PROJECT_BINARY_DIR}/generated/sshlease_version.h" VERBATIM)
  add_dependencies(sshlease_flags sshlease_build_version)
endif()
