# fulmar_protos: C++ and gRPC code of everything under protos/, as one static library. Includes: "apache/rocketmq/v2/service.pb.h".
set(proto_root ${CMAKE_SOURCE_DIR}/protos)
set(proto_gen ${CMAKE_BINARY_DIR}/gen/protos)
file(MAKE_DIRECTORY ${proto_gen})
file(GLOB_RECURSE proto_files RELATIVE ${proto_root} CONFIGURE_DEPENDS ${proto_root}/*.proto)

set(proto_sources "")
foreach(proto IN LISTS proto_files)
  string(REGEX REPLACE "\\.proto$" "" stem ${proto})
  set(outputs ${proto_gen}/${stem}.pb.cc ${proto_gen}/${stem}.pb.h)
  set(grpc_arguments "")
  # Only files with a service get gRPC code: an empty one costs seconds to compile.
  file(STRINGS ${proto_root}/${proto} services REGEX "^service ")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${proto_root}/${proto})
  if(services)
    list(APPEND outputs ${proto_gen}/${stem}.grpc.pb.cc ${proto_gen}/${stem}.grpc.pb.h)
    set(grpc_arguments --grpc_out=${proto_gen} --plugin=protoc-gen-grpc=${FULMAR_GRPC_PLUGIN})
  endif()
  add_custom_command(OUTPUT ${outputs}
    COMMAND ${FULMAR_PROTOC} -I ${proto_root} --cpp_out=${proto_gen} ${grpc_arguments} ${proto}
    WORKING_DIRECTORY ${proto_root}
    DEPENDS ${proto_root}/${proto} COMMENT "protoc ${proto}" VERBATIM)
  list(APPEND proto_sources ${outputs})
endforeach()

if(proto_sources)
  add_library(fulmar_protos STATIC ${proto_sources})
  target_include_directories(fulmar_protos SYSTEM PUBLIC ${proto_gen})
  target_link_libraries(fulmar_protos PUBLIC fulmar::grpc)
  target_compile_options(fulmar_protos PRIVATE -w)
  set_target_properties(fulmar_protos PROPERTIES CXX_CLANG_TIDY "")
  if(NOT CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    target_compile_options(fulmar_protos PRIVATE -O0 -g0)
  endif()
else()
  add_library(fulmar_protos INTERFACE)
  target_link_libraries(fulmar_protos INTERFACE fulmar::grpc)
endif()
