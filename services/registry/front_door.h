#ifndef FULMAR_REGISTRY_FRONT_DOOR_H_
#define FULMAR_REGISTRY_FRONT_DOOR_H_

#include <string>
#include <vector>

#include "services/broker/shard.h"
#include "services/index/ports.h"
#include "services/registry/route_service.h"

namespace fulmar::registry {

// What stands behind the registry's MessagingService in place of a shard. Clients send more than QueryRoute to the address they
// were given (wire/client-behaviour.md §1): settings, heartbeats and terminations are answered here from the definitions;
// what only a broker can do is refused with a text that says where to go, never by a hang. In `direct` routes no client but a
// misconfigured one asks for that.
// Borrows: definitions. Threads: any; callbacks run inside the call or on the store's thread.
class FrontDoor final : public broker::Shard {
 public:
  FrontDoor(RouteServiceOptions options, index::DefinitionStore& definitions) : options_(options), definitions_(definitions) {}

  void Start() override {}
  void Send(broker::SendCommand command, broker::Done<std::vector<broker::SendOutcome>> done) override;
  broker::ReceiveId Receive(broker::ReceiveCommand command, broker::Done<std::vector<broker::Delivered>> done) override;
  void CancelReceive(broker::ReceiveId) override {}
  void ReturnUndelivered(std::string, std::vector<std::string>) override {}
  void Ack(broker::AckCommand command, broker::Done<std::vector<absl::Status>> done) override;
  void ChangeInvisible(broker::ChangeInvisibleCommand command, broker::Done<std::string> done) override;
  void ForwardToDeadLetter(broker::DeadLetterCommand command, broker::DoneStatus done) override;
  broker::ReceiveId Pull(broker::PullCommand command, broker::Done<broker::PullOutcome> done) override;
  void UpdateOffset(std::string topic, std::string group, int32_t queue, int64_t offset, broker::DoneStatus done) override;
  void GetOffset(std::string topic, std::string group, int32_t queue, broker::Done<int64_t> done) override;
  void QueryOffset(std::string topic, int32_t queue, broker::OffsetPolicy policy, absl::Time time,
                   broker::Done<int64_t> done) override;
  void TouchClient(const broker::ClientRef&, const std::string&) override {}
  void ClientStream(const broker::ClientRef&, int) override {}
  void ClientTerminated(const std::string&, const std::string&) override {}
  void ResolveTopic(std::string topic, broker::Done<index::TopicDefinition> done) override;
  void ResolveGroup(std::string group, broker::Done<index::GroupDefinition> done) override;
  void DescribeTopic(std::string topic, broker::Done<broker::TopicState> done) override;
  void DescribeGroup(std::string group, broker::Done<broker::GroupState> done) override;
  void ResetGroupOffset(std::string group, std::string topic, broker::ResetOffset reset, broker::DoneStatus done) override;
  void Status(broker::Done<broker::ShardStatus> done) override;
  void Stop(absl::AnyInvocable<void() &&> done) override { std::move(done)(); }

 private:
  const RouteServiceOptions options_;
  index::DefinitionStore& definitions_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_FRONT_DOOR_H_
