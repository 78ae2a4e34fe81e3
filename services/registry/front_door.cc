#include "services/registry/front_door.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"

namespace fulmar::registry {
namespace {

absl::Status GoToTheBroker(std::string_view what) {
  return errors::NotImplemented(
      absl::StrCat(what, " is answered by brokers: this address is a registry, QueryRoute names the broker to use"));
}

}  // namespace

void FrontDoor::Send(broker::SendCommand, broker::Done<std::vector<broker::SendOutcome>> done) {
  std::move(done)(GoToTheBroker("SendMessage"));
}

broker::ReceiveId FrontDoor::Receive(broker::ReceiveCommand, broker::Done<std::vector<broker::Delivered>> done) {
  std::move(done)(GoToTheBroker("ReceiveMessage"));
  return 0;
}

void FrontDoor::Ack(broker::AckCommand, broker::Done<std::vector<absl::Status>> done) {
  std::move(done)(GoToTheBroker("AckMessage"));
}

void FrontDoor::ChangeInvisible(broker::ChangeInvisibleCommand, broker::Done<std::string> done) {
  std::move(done)(GoToTheBroker("ChangeInvisibleDuration"));
}

void FrontDoor::ForwardToDeadLetter(broker::DeadLetterCommand, broker::DoneStatus done) {
  std::move(done)(GoToTheBroker("ForwardMessageToDeadLetterQueue"));
}

broker::ReceiveId FrontDoor::Pull(broker::PullCommand, broker::Done<broker::PullOutcome> done) {
  std::move(done)(GoToTheBroker("PullMessage"));
  return 0;
}

void FrontDoor::UpdateOffset(std::string, std::string, int32_t, int64_t, broker::DoneStatus done) {
  std::move(done)(GoToTheBroker("UpdateOffset"));
}

void FrontDoor::GetOffset(std::string, std::string, int32_t, broker::Done<int64_t> done) {
  std::move(done)(GoToTheBroker("GetOffset"));
}

void FrontDoor::QueryOffset(std::string, int32_t, broker::OffsetPolicy, absl::Time, broker::Done<int64_t> done) {
  std::move(done)(GoToTheBroker("QueryOffset"));
}

void FrontDoor::ResolveTopic(std::string topic, broker::Done<index::TopicDefinition> done) {
  if (!options_.auto_create_topics || topic.starts_with(index::kDeadLetterPrefix)) {
    return definitions_.GetTopic(std::move(topic), std::move(done));
  }
  index::TopicDefinition wanted;
  wanted.name = std::move(topic);
  wanted.queues = options_.auto_create_queues;
  definitions_.EnsureTopic(std::move(wanted), std::move(done));
}

void FrontDoor::ResolveGroup(std::string group, broker::Done<index::GroupDefinition> done) {
  if (!options_.auto_create_groups) return definitions_.GetGroup(std::move(group), std::move(done));
  index::GroupDefinition wanted;
  wanted.name = std::move(group);
  definitions_.EnsureGroup(std::move(wanted), std::move(done));
}

void FrontDoor::DescribeTopic(std::string, broker::Done<broker::TopicState> done) {
  std::move(done)(GoToTheBroker("the state of a topic"));
}

void FrontDoor::DescribeGroup(std::string, broker::Done<broker::GroupState> done) {
  std::move(done)(GoToTheBroker("the state of a group"));
}

void FrontDoor::ResetGroupOffset(std::string, std::string, broker::ResetOffset, broker::DoneStatus done) {
  std::move(done)(GoToTheBroker("a reset"));
}

void FrontDoor::Status(broker::Done<broker::ShardStatus> done) {
  broker::ShardStatus status;
  status.name = "registry";
  status.serving = true;
  std::move(done)(std::move(status));
}

}  // namespace fulmar::registry
