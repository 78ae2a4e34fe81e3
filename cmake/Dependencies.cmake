# Every library from outside, as one target fulmar::<name> each. Why each of them is here: docs/dependencies.md.
# All are Debian 12 packages; tools/install-deps installs them.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# fulmar::<name> from archives (or shared objects, without FULMAR_STATIC_DEPS) found by name, plus what those need.
function(fulmar_imported name)
  cmake_parse_arguments(A "" "" "LIBS;SHARED_LIBS;DEPS" ${ARGN})
  add_library(fulmar_dep_${name} INTERFACE)
  add_library(fulmar::${name} ALIAS fulmar_dep_${name})
  foreach(lib IN LISTS A_LIBS)
    if(FULMAR_STATIC_DEPS)
      find_library(FULMAR_LIB_${lib} NAMES lib${lib}.a REQUIRED)
    else()
      find_library(FULMAR_LIB_${lib} NAMES lib${lib}.so lib${lib}.a REQUIRED)
    endif()
    mark_as_advanced(FULMAR_LIB_${lib})
    list(APPEND found ${FULMAR_LIB_${lib}})
  endforeach()
  foreach(lib IN LISTS A_SHARED_LIBS)
    find_library(FULMAR_LIB_${lib} NAMES lib${lib}.so REQUIRED)
    mark_as_advanced(FULMAR_LIB_${lib})
    list(APPEND found ${FULMAR_LIB_${lib}})
  endforeach()
  # Archives refer to each other in circles; a group lets any linker resolve them whatever their order.
  target_link_libraries(fulmar_dep_${name} INTERFACE -Wl,--start-group ${found} -Wl,--end-group ${A_DEPS})
endfunction()

# Abseil: all its libraries; the linker takes what is used.
find_library(FULMAR_ABSL_PROBE NAMES libabsl_base.a REQUIRED)
get_filename_component(absl_dir ${FULMAR_ABSL_PROBE} DIRECTORY)
file(GLOB absl_archives RELATIVE ${absl_dir} ${absl_dir}/libabsl_*.a)
set(absl_names "")
foreach(archive IN LISTS absl_archives)
  string(REGEX REPLACE "^lib(.*)\\.a$" "\\1" archive_name ${archive})
  # The flag libraries register flags of their own when linked whole; the shared form would pull them in for nothing.
  if(NOT archive_name MATCHES "flags|test_util|mock")
    list(APPEND absl_names ${archive_name})
  endif()
endforeach()
fulmar_imported(absl LIBS ${absl_names} DEPS Threads::Threads -Wl,--as-needed)
include(AbslStringView)

fulmar_imported(protobuf LIBS protobuf z DEPS Threads::Threads)
fulmar_imported(openssl SHARED_LIBS ssl crypto)
fulmar_imported(grpc LIBS grpc++ grpc gpr upb address_sorting re2 cares z
  DEPS fulmar::protobuf fulmar::openssl fulmar::absl dl rt)
# The reflection service registers itself when its archive is linked whole; only server executables want it.
fulmar_imported(grpc_reflection_lib LIBS grpc++_reflection DEPS fulmar::grpc)
add_library(fulmar_dep_grpc_reflection INTERFACE)
add_library(fulmar::grpc_reflection ALIAS fulmar_dep_grpc_reflection)
target_link_libraries(fulmar_dep_grpc_reflection INTERFACE
  -Wl,--no-as-needed -Wl,--whole-archive ${FULMAR_LIB_grpc++_reflection} -Wl,--no-whole-archive -Wl,--as-needed fulmar::grpc)

fulmar_imported(rocksdb LIBS rocksdb snappy lz4 zstd bz2 z DEPS Threads::Threads dl)
fulmar_imported(yaml LIBS yaml-cpp)
fulmar_imported(isal SHARED_LIBS isal)
fulmar_imported(sodium SHARED_LIBS sodium)
fulmar_imported(prometheus SHARED_LIBS prometheus-cpp-core)
fulmar_imported(spdlog SHARED_LIBS spdlog fmt)
target_compile_definitions(fulmar_dep_spdlog INTERFACE SPDLOG_COMPILED_LIB SPDLOG_SHARED_LIB SPDLOG_FMT_EXTERNAL)
fulmar_imported(httplib SHARED_LIBS cpp-httplib)
# As the library itself was built: its classes have members for them.
target_compile_definitions(fulmar_dep_httplib INTERFACE
  CPPHTTPLIB_OPENSSL_SUPPORT CPPHTTPLIB_ZLIB_SUPPORT CPPHTTPLIB_BROTLI_SUPPORT)
fulmar_imported(json)   # nlohmann-json, headers only
fulmar_imported(cli11)  # headers only
if(FULMAR_JEMALLOC)
  fulmar_imported(jemalloc SHARED_LIBS jemalloc)
endif()

find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_program(FULMAR_PROTOC protoc REQUIRED)
find_program(FULMAR_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)
