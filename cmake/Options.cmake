# What a build can choose. The presets in CMakePresets.json set these; nothing else should need to.

option(FULMAR_WERROR "Treat warnings as errors" OFF)
option(FULMAR_STATIC_DEPS "Link gRPC, protobuf, Abseil and RocksDB statically" ON)
option(FULMAR_JEMALLOC "Link executables against jemalloc" OFF)
option(FULMAR_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
set(FULMAR_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, for example address,undefined")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

# -g1: line tables for stack traces; full debug information triples the size of what the compiler writes.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG" CACHE STRING "" FORCE)
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_DEBUG "-O1 -g1" CACHE STRING "" FORCE)

find_program(FULMAR_MOLD mold)
if(FULMAR_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# base_dir and hash_dir let build directories (and clones) share cache entries.
find_program(FULMAR_CCACHE ccache)
if(FULMAR_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(launcher env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=true ${FULMAR_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

if(FULMAR_SANITIZE)
  add_compile_options(-fsanitize=${FULMAR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${FULMAR_SANITIZE})
endif()

# Warnings of our own code; attached by the functions of Fulmar.cmake, so generated code goes without. g++ is the judge of warnings;
# clang, whose opinions differ, is the judge of thread safety only.
set(FULMAR_WARNINGS -Wall -Wextra -Wno-missing-field-initializers -Wno-unused-parameter)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc 12 reports overlapping copies inside std::string that cannot happen (gcc bug 105651).
  list(APPEND FULMAR_WARNINGS -Wno-restrict)
  if(FULMAR_WERROR)
    list(APPEND FULMAR_WARNINGS -Werror)
  endif()
else()
  list(APPEND FULMAR_WARNINGS -Wthread-safety -Werror=thread-safety)
endif()
