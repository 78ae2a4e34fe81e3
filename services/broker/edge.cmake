# The broker's edge, included by CMakeLists.txt here: from the bytes of the protocol to the shard and back.
fulmar_library(fulmar_broker_edge
  SRCS
    body_digest.cc
    data_plane.cc
    message_convert.cc
    message_rules.cc
    wire_reader.cc
    wire_replies.cc
    wire_walk.cc
  DEPS fulmar_broker fulmar_index fulmar_v2 fulmar::openssl z)
