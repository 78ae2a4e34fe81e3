# fulmar_version: VERSION and the git revision, in a library of its own so that a commit relinks executables and recompiles one file.
set(version_dir ${CMAKE_BINARY_DIR}/gen/version)
add_custom_target(fulmar_version_source
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DVERSION=${FULMAR_VERSION} -DOUT=${version_dir}/version.cc
    -P ${CMAKE_SOURCE_DIR}/cmake/WriteVersion.cmake
  BYPRODUCTS ${version_dir}/version.cc)
file(WRITE ${version_dir}/fulmar/version.h.in [[
#ifndef FULMAR_VERSION_H_
#define FULMAR_VERSION_H_

namespace fulmar {

// "0.1.0": the file VERSION.
const char* Version();
// "1a2b3c4d5e6f", with "-dirty" when the tree had changes; "unknown" outside a git clone.
const char* Revision();

}  // namespace fulmar

#endif  // FULMAR_VERSION_H_
]])
configure_file(${version_dir}/fulmar/version.h.in ${version_dir}/fulmar/version.h COPYONLY)
add_library(fulmar_version STATIC ${version_dir}/version.cc)
target_include_directories(fulmar_version PUBLIC ${version_dir})
add_dependencies(fulmar_version fulmar_version_source)
