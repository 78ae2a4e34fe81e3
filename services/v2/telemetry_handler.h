#ifndef FULMAR_V2_TELEMETRY_HANDLER_H_
#define FULMAR_V2_TELEMETRY_HANDLER_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "apache/rocketmq/v2/service.pb.h"
#include "services/common/grpc/rpc_service.h"
#include "services/index/definitions.h"
#include "services/v2/settings_convert.h"

namespace fulmar::v2edge {

// What telemetry needs of the server behind it. Threads: called on any.
class TelemetryHost {
 public:
  virtual ~TelemetryHost() = default;
  virtual absl::Status CheckFilter(int32_t type, std::string_view expression) = 0;
  // The definition of a group, made first where that is allowed. `done` exactly once, on any thread, not inside the call.
  virtual void ResolveGroup(std::string group, absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) = 0;
  // The same for a consumer of `topics`: an order that the topics decide is decided in the answer.
  virtual void ResolveConsumer(std::string group, std::vector<std::string> /*topics*/,
                               absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) {
    ResolveGroup(std::move(group), std::move(done));
  }
  virtual void StreamOpened(const CallInfo& call) = 0;
  virtual void StreamEnded(const CallInfo& call) = 0;
  // The client said something; `group` is empty for producers.
  virtual void ClientSeen(const CallInfo& call, const std::string& group) = 0;
};

// The telemetry streams of all clients: answers settings, takes the clients' answers to commands.
//
// A client may have several streams at once (reconnects, several sessions to one address, ids that repeat after a restart). All of them are
// served until their client ends them: cutting the older one would make two sessions of one client cut each other for ever. The newest is the
// one that commands go to.
// Borrows: the host, which outlives it. Threads: any.
class TelemetryHandler {
 public:
  TelemetryHandler(SettingsOptions options, TelemetryHost& host);
  ~TelemetryHandler();  // all streams have ended
  TelemetryHandler(const TelemetryHandler&) = delete;
  TelemetryHandler& operator=(const TelemetryHandler&) = delete;

  // The RPC method.
  void Open(common::ServerCall& call);

  // Sends a command on the newest stream of a client. False: there is none.
  bool Send(std::string_view client_id, pb::TelemetryCommand command);
  // Ends all streams, and new ones at once, with UNAVAILABLE, upon which clients connect again elsewhere or later.
  void Stop();
  size_t streams() const;

 private:
  class Stream;
  void Add(std::shared_ptr<Stream> stream);
  void Remove(const std::shared_ptr<Stream>& stream);

  const SettingsOptions options_;
  TelemetryHost& host_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_set<std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mutex_);
  absl::btree_map<std::string, std::shared_ptr<Stream>, std::less<>> newest_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace fulmar::v2edge

#endif  // FULMAR_V2_TELEMETRY_HANDLER_H_
