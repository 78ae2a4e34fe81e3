#ifndef FULMAR_REGISTRY_ANNOUNCE_CLIENT_H_
#define FULMAR_REGISTRY_ANNOUNCE_CLIENT_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "services/registry/announcer.h"

namespace fulmar::common {
class RpcClient;
}

namespace fulmar::registry {

// A registry in another process. Keeps one stream open; when it ends, the next announcement opens another (fresh, so whole).
// A few announcements may wait for their turn; beyond that the stream is given up, and the next one begins anew.
// Borrows: the client, which outlives its use.
class RemoteAnnounceSink : public AnnounceSink {
 public:
  // `on_problem` hears, rate-limited by change, what the registry or the connection complains about; "" when all is well again.
  RemoteAnnounceSink(common::RpcClient& registry, absl::AnyInvocable<void(const std::string&)> on_problem);
  ~RemoteAnnounceSink() override;

  bool TakeFresh() override;
  void Send(const Announcement& announcement) override;
  void Leave(const std::string& shard, uint64_t replica) override;

 private:
  class Stream;
  void Report(const std::string& problem);

  common::RpcClient& registry_;
  absl::AnyInvocable<void(const std::string&)> on_problem_;
  std::string last_problem_;
  std::shared_ptr<Stream> stream_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ANNOUNCE_CLIENT_H_
