# The Raft engine: `include(RaftEngine)` in services/log/CMakeLists.txt defines
#
#   fulmar_raft_engine   link this to use services/log/raft_core.h's C ABI (only fulmar_log does)
#
# and registers the crate's own tests as `raft_engine_crate_test`. Needs cargo and rustc 1.78 or newer on PATH (Debian's
# cargo-web is one), and crates.io for the first build.
include_guard(GLOBAL)
include(Rust)

set(FULMAR_RAFT_ENGINE_RUST_MIN 1.78)
find_program(FULMAR_RUSTC rustc)
if(FULMAR_RUSTC)
  execute_process(COMMAND ${FULMAR_RUSTC} --version OUTPUT_VARIABLE rustc_says ERROR_QUIET)
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" rustc_version "${rustc_says}")
  if(rustc_version VERSION_LESS FULMAR_RAFT_ENGINE_RUST_MIN)
    message(FATAL_ERROR "${FULMAR_RUSTC} is ${rustc_version}; the Raft engine needs ${FULMAR_RAFT_ENGINE_RUST_MIN} or newer. "
                        "Run tools/install-deps build, or put a newer toolchain first on PATH.")
  endif()
endif()

fulmar_rust_library(fulmar_raft_engine CRATE raft_engine)

add_test(NAME raft_engine_crate_test
  COMMAND ${FULMAR_CARGO} test --release --locked --quiet --manifest-path ${CMAKE_CURRENT_SOURCE_DIR}/raft_engine/Cargo.toml
    --target-dir ${FULMAR_CARGO_TARGET_DIR})
set_tests_properties(raft_engine_crate_test PROPERTIES LABELS unit TIMEOUT 600)
