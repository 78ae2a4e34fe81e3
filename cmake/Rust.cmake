# fulmar_rust_library(fulmar_raft_engine CRATE raft_engine): a Rust crate of crate-type staticlib, in the calling folder's CRATE,
# as a target to link. The crate commits its Cargo.lock; cargo itself decides what is stale.
#
# All build directories share one cargo target folder, so the crate is compiled once, not once per preset (it is never sanitized).
find_program(FULMAR_CARGO cargo)
set(FULMAR_CARGO_TARGET_DIR ${CMAKE_SOURCE_DIR}/build/cargo CACHE PATH "Where cargo builds")

function(fulmar_rust_library name)
  cmake_parse_arguments(A "" "CRATE" "" ${ARGN})
  if(NOT FULMAR_CARGO)
    message(FATAL_ERROR "cargo was not found. Run tools/install-deps build, or put a Rust toolchain on PATH.")
  endif()
  set(crate ${CMAKE_CURRENT_SOURCE_DIR}/${A_CRATE})
  file(STRINGS ${crate}/Cargo.toml package REGEX "^name *= *\"[^\"]+\"" LIMIT_COUNT 1)
  string(REGEX REPLACE "^name *= *\"([^\"]+)\".*$" "\\1" package "${package}")
  string(REPLACE "-" "_" package ${package})
  set(archive ${FULMAR_CARGO_TARGET_DIR}/release/lib${package}.a)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${crate}/src/*.rs)
  add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/lib${package}.a
    COMMAND ${FULMAR_CARGO} build --release --locked --quiet --manifest-path ${crate}/Cargo.toml
      --target-dir ${FULMAR_CARGO_TARGET_DIR}
    COMMAND ${CMAKE_COMMAND} -E copy ${archive} ${CMAKE_CURRENT_BINARY_DIR}/lib${package}.a
    DEPENDS ${crate}/Cargo.toml ${crate}/Cargo.lock ${sources}
    COMMENT "cargo build ${package}" VERBATIM)
  add_custom_target(${name}_cargo DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/lib${package}.a)
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_cargo)
  target_link_libraries(${name} INTERFACE ${CMAKE_CURRENT_BINARY_DIR}/lib${package}.a Threads::Threads dl m)
  if(EXISTS ${crate}/include)
    target_include_directories(${name} INTERFACE ${crate}/include)
  endif()
endfunction()
