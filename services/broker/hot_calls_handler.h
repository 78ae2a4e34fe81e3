#ifndef FULMAR_BROKER_HOT_CALLS_HANDLER_H_
#define FULMAR_BROKER_HOT_CALLS_HANDLER_H_

#include "services/broker/data_plane.h"
#include "services/broker/hot_methods_handler.h"
#include "services/common/grpc/cq_executor.h"

namespace fulmar::broker {

// Takes SendMessage, ReceiveMessage and AckMessage calls off the completion queue as bytes and brings the bytes of their answers back. Each
// call is one object that lives until gRPC has given back everything that was asked for it.
// Borrows: all three, until the queue is drained. Threads: Start() on the queue's thread, which runs everything else too.
struct HotCalls {
  HotMethods& service;
  DataPlane& data_plane;
  common::CqExecutor& executor;

  // Asks for the first calls; each call that comes asks for its successor. `ready` of each method wait at a time.
  void Start(int ready);
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_HOT_CALLS_HANDLER_H_
