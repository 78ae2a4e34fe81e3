# The broker's edge, included by CMakeLists.txt here: from the bytes of the protocol to the shard and back.

# Without gRPC.
fulmar_library(fulmar_broker_bytes
  SRCS
    body_digest.cc
    data_plane.cc
    message_convert.cc
    message_rules.cc
    shard_routes.cc
    wire_replies.cc
    wire_walk.cc
  DEPS fulmar_broker fulmar_index fulmar_v2 fulmar::openssl z)

fulmar_library(fulmar_broker_edge
  SRCS
    admin_service_handler.cc
    hot_calls_handler.cc
    messaging_handler.cc
    pull_reply_handler.cc
    route_convert.cc
  DEPS fulmar_broker_bytes fulmar_v2_edge fulmar_grpc_server fulmar_protos)

fulmar_test(broker_edge_test
  SRCS
    message_convert_test.cc
    messaging_handler_test.cc
    wire_walk_convert_test.cc
  DEPS fulmar_broker_edge fulmar_sim)

# The data plane alone, up to the wire: `core`, so that it runs under the thread sanitizer too.
fulmar_test(broker_data_plane_test
  SRCS
    data_plane_convert_test.cc
    hot_calls_handler_test.cc
  DEPS fulmar_broker_edge fulmar_sim
  LABELS unit core)

fulmar_fuzzer(wire_walk_fuzzer SRCS wire_walk_fuzzer.cc DEPS fulmar_broker_bytes CORPUS corpus/wire_walk)
fulmar_fuzzer(message_record_fuzzer SRCS message_record_fuzzer.cc DEPS fulmar_broker CORPUS corpus/message_record)
