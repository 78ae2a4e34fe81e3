#ifndef FULMAR_LOG_LOG_TRANSPORT_H_
#define FULMAR_LOG_LOG_TRANSPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "services/common/bytes.h"
#include "services/common/ids.h"

namespace fulmar::log {

struct ReplicaPayload {
  LogIndex index;
  Term term;
  common::SharedBytes bytes;
};

// A Raft message on its way to another replica. The Raft engine knows entries without their payloads; those of the records
// that this message carries are beside it, in order, and the transport sends both together.
struct ReplicaMessage {
  uint64_t to = 0;
  std::string raft;
  std::vector<ReplicaPayload> payloads;
};

// How the replicas of a shard reach each other. Called on the shard executor, must not block; messages may be lost,
// doubled and reordered. What arrives is given to ReplicatedLog::Step.
class LogTransport {
 public:
  virtual ~LogTransport() = default;
  virtual void Send(ReplicaMessage message) = 0;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_LOG_TRANSPORT_H_
