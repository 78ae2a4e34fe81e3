#ifndef FULMAR_BROKER_DATA_PLANE_H_
#define FULMAR_BROKER_DATA_PLANE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/broker/filter_cache.h"
#include "services/broker/message_convert.h"
#include "services/broker/shard.h"
#include "services/common/clock.h"
#include "services/common/executor.h"
#include "services/v2/call_info.h"
#include "services/v2/rpc_metrics.h"

namespace fulmar::broker {

struct DataPlaneOptions {
  MessageLimits limits;
  std::string store_host;                              // shown in deliveries
  size_t max_open_receives = 20'000;                   // more are refused with TOO_MANY_REQUESTS
  absl::Duration max_wait = absl::Seconds(60);         // of a long poll
  absl::Duration error_delay = absl::Seconds(1);       // before an error answers a receive: some clients ask again at once, for ever
};

// How long a receive may wait, from what the client asks for and how much time its call has left (see wire notes, "polling time"):
// the asked time, else what is left less 1.5 s (20 s without a deadline); at most `max_wait`; always at most what is left less 0.5 s.
// Asked 0: at once for a simple consumer, 1 s for a push consumer, which would ask again without a pause.
absl::Duration PollTime(std::optional<absl::Duration> asked, absl::Duration remaining, bool push_consumer, absl::Duration max_wait);

// Where the parts of a receive's answer go. Implemented by the transport; used and destroyed on the loop, maybe right after the call that
// answers: what is still to be written then is the transport's business.
class ReceiveStream {
 public:
  virtual ~ReceiveStream() = default;
  // Writes the parts, each one response, and ends the stream. Called once. `done` runs on the loop with how many of the parts, from the
  // first, the transport took over; all of them unless the stream died.
  virtual void Reply(std::vector<OutBytes> parts, absl::AnyInvocable<void(size_t taken) &&> done) = 0;
  // Instead of Reply(): no answer of the protocol can be made.
  virtual void Fail(absl::Status status) = 0;
};

// The hot methods, bytes in and bytes out, without a type of the transport.
// Borrows: shard, loop, clock, metrics; they outlive it, and the shard answers everything before this is destroyed.
// Threads: all methods and all callbacks on `loop`, whose tasks never wait.
class DataPlane {
 public:
  using ReceiveCall = uint64_t;  // never 0
  // The response, or an error if the request is no such message (the transport's own INVALID_ARGUMENT).
  using UnaryReply = absl::AnyInvocable<void(absl::StatusOr<std::string>) &&>;

  DataPlane(DataPlaneOptions options, Shard& shard, common::Executor& loop, common::Clock& clock, v2edge::RpcMetrics& metrics);
  ~DataPlane();
  DataPlane(const DataPlane&) = delete;
  DataPlane& operator=(const DataPlane&) = delete;

  // `request` and the views in `call` are used before the return only. Every reply comes exactly once, maybe inside the call.
  void Send(const v2edge::CallInfo& call, std::string_view request, UnaryReply reply);
  void Ack(const v2edge::CallInfo& call, std::string_view request, UnaryReply reply);

  // Answers when messages are there or the time is over. 0: it has been answered inside the call.
  ReceiveCall Receive(const v2edge::CallInfo& call, std::string_view request, std::unique_ptr<ReceiveStream> stream);
  // The stream has ended without an answer: it is forgotten, and what the shard still delivers for it becomes visible again.
  void CancelReceive(ReceiveCall call);

  // Answers what waits only for the delay of its error, and delays none from now on. Parked receives are the shard's to answer.
  void Stop();

  size_t open_receives() const { return receives_.size(); }

  // The one place where this server's filters are compiled. Any thread.
  FilterCache& filters() { return filters_; }

 private:
  struct OpenReceive;
  void OnReceived(ReceiveCall call, absl::StatusOr<std::vector<Delivered>> messages);
  void Finish(std::unique_ptr<OpenReceive> receive, absl::StatusOr<std::vector<Delivered>> messages);
  void ReplyMessages(OpenReceive& receive, std::vector<Delivered> messages);
  void ReplyStatus(ReceiveStream& stream, const absl::Status& status);
  void Return(std::string group, const std::vector<Delivered>& messages, size_t first);
  UnaryReply Measured(v2edge::RpcMetrics::Rpc& rpc, UnaryReply reply);

  const DataPlaneOptions options_;
  Shard& shard_;
  common::Executor& loop_;
  common::Clock& clock_;
  v2edge::RpcMetrics::Rpc& send_rpc_;
  v2edge::RpcMetrics::Rpc& ack_rpc_;
  v2edge::RpcMetrics::Rpc& receive_rpc_;
  BodyDigester digester_;
  FilterCache filters_;
  wire::SendRequest send_request_;  // keeps its capacity
  absl::btree_map<ReceiveCall, std::unique_ptr<OpenReceive>> receives_;  // until the shard has answered and that was passed on
  ReceiveCall last_receive_ = 0;
  bool stopping_ = false;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_DATA_PLANE_H_
