#ifndef FULMAR_BROKER_FAKE_SHARD_TESTING_H_
#define FULMAR_BROKER_FAKE_SHARD_TESTING_H_

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "services/broker/shard.h"
#include "services/common/errors.h"
#include "services/common/executor.h"

namespace fulmar::broker {

// A shard in memory for tests of what stands in front of it: one queue, no groups, no rules. What is sent waits until it is received; what is
// received is only remembered. Keeps every command for the test to look at.
// Threads: as Shard says; `Peek` from any.
class FakeShard final : public Shard {
 public:
  explicit FakeShard(common::Executor& executor) : executor_(executor) {}

  struct State {
    std::deque<Delivered> waiting;
    std::map<ReceiveId, std::pair<ReceiveCommand, Done<std::vector<Delivered>>>> parked;
    int64_t next_offset = 0;
    std::vector<SendCommand> sends;       // without their records
    std::vector<ReceiveCommand> receives;
    std::vector<AckCommand> acks;
    std::vector<ChangeInvisibleCommand> changes;
    std::vector<std::string> returned, terminated, resolved_groups;
    std::vector<std::pair<std::string, std::string>> touched;
    std::map<std::string, int> streams;
    int cancelled = 0;
    // What is answered instead, while set.
    absl::Status send_error, receive_error, ack_error, change_error, group_error;
    index::GroupDefinition group;
    bool stopped = false;
  };
  template <class F>
  auto Peek(F&& look) {
    absl::MutexLock lock(&mutex_);
    return look(state_);
  }
  // A message as it would lie in the log.
  static Delivered Stored(std::string record, int64_t offset) {
    PlaceMessage(record, 1, 0, offset, 1'760'000'000'000 + offset);
    return {.record = common::SharedBytes(std::move(record)), .queue = 0, .offset = offset, .attempt = 1,
            .receipt_handle = absl::StrCat("handle-", offset), .invisible_duration = absl::Seconds(30)};
  }

  void Start() override {}
  void Send(SendCommand command, Done<std::vector<SendOutcome>> done) override {
    Run([this, command = std::move(command), done = std::move(done)]() mutable {
      std::vector<SendOutcome> outcomes;
      absl::Status error;
      {
        absl::MutexLock lock(&mutex_);
        error = state_.send_error;
        for (NewMessage& message : command.messages) {
          const int64_t offset = state_.next_offset++;
          outcomes.push_back({.status = absl::OkStatus(), .message_id = message.message_id, .queue = 0, .offset = offset});
          if (error.ok()) state_.waiting.push_back(Stored(std::move(message.record), offset));
        }
        state_.sends.push_back(std::move(command));
      }
      if (!error.ok()) return std::move(done)(error);
      std::move(done)(std::move(outcomes));
      Serve();
    });
  }
  ReceiveId Receive(ReceiveCommand command, Done<std::vector<Delivered>> done) override {
    const ReceiveId id = ++last_receive_;
    Run([this, id, command = std::move(command), done = std::move(done)]() mutable {
      absl::Status error;
      {
        absl::MutexLock lock(&mutex_);
        state_.receives.push_back(command);
        error = state_.stopped ? errors::HaNotAvailable("stopping") : state_.receive_error;
        if (error.ok()) state_.parked[id] = {command, std::move(done)};
      }
      if (!error.ok()) return std::move(done)(error);
      Serve();
      executor_.After(command.wait, [this, id] { Answer(id, errors::MessageNotFound("nothing came")); });
    });
    return id;
  }
  void CancelReceive(ReceiveId id) override {
    Run([this, id] {
      {
        absl::MutexLock lock(&mutex_);
        ++state_.cancelled;
      }
      Answer(id, absl::CancelledError("cancelled"));
    });
  }
  void ReturnUndelivered(std::string, std::vector<std::string> handles) override {
    absl::MutexLock lock(&mutex_);
    state_.returned.insert(state_.returned.end(), handles.begin(), handles.end());
  }
  void Ack(AckCommand command, Done<std::vector<absl::Status>> done) override {
    Run([this, command = std::move(command), done = std::move(done)]() mutable {
      std::vector<absl::Status> statuses;
      absl::Status error;
      {
        absl::MutexLock lock(&mutex_);
        error = state_.ack_error;
        for (const AckEntry& entry : command.entries) {
          const bool known = entry.receipt_handle.rfind("handle-", 0) == 0;
          statuses.push_back(known ? absl::OkStatus() : errors::InvalidReceiptHandle("INVALID_RECEIPT_HANDLE: not one of ours"));
        }
        state_.acks.push_back(std::move(command));
      }
      if (error.ok()) std::move(done)(std::move(statuses));
      else std::move(done)(error);
    });
  }
  void ChangeInvisible(ChangeInvisibleCommand command, Done<std::string> done) override {
    Run([this, command = std::move(command), done = std::move(done)]() mutable {
      const absl::Status error = Peek([](State& s) { return s.change_error; });
      std::string handle = command.receipt_handle + "-new";
      Peek([&](State& s) { s.changes.push_back(std::move(command)); });
      if (error.ok()) std::move(done)(std::move(handle));
      else std::move(done)(error);
    });
  }
  void ForwardToDeadLetter(DeadLetterCommand, DoneStatus done) override {
    Run([done = std::move(done)]() mutable { std::move(done)(absl::OkStatus()); });
  }
  ReceiveId Pull(PullCommand command, Done<PullOutcome> done) override {
    Run([this, command = std::move(command), done = std::move(done)]() mutable {
      PullOutcome outcome{.messages = {}, .next_offset = command.offset};
      Peek([&](State& s) {
        for (const Delivered& message : s.waiting) {
          if (message.offset < command.offset) continue;
          outcome.messages.push_back(message);
          outcome.messages.back().receipt_handle.clear();
          outcome.next_offset = message.offset + 1;
        }
      });
      std::move(done)(std::move(outcome));
    });
    return 0;
  }
  void UpdateOffset(std::string, std::string, int32_t, int64_t, DoneStatus done) override {
    Run([done = std::move(done)]() mutable { std::move(done)(absl::OkStatus()); });
  }
  void GetOffset(std::string, std::string, int32_t, Done<int64_t> done) override {
    Run([done = std::move(done)]() mutable { std::move(done)(errors::OffsetNotFound("no offset is stored")); });
  }
  void QueryOffset(std::string, int32_t, OffsetPolicy policy, absl::Time, Done<int64_t> done) override {
    Run([policy, done = std::move(done)]() mutable { std::move(done)(static_cast<int64_t>(policy) + 100); });
  }
  void TouchClient(const ClientRef& client, const std::string& group) override {
    absl::MutexLock lock(&mutex_);
    state_.touched.emplace_back(client.client_id, group);
  }
  void ClientStream(const ClientRef& client, int delta) override {
    absl::MutexLock lock(&mutex_);
    state_.streams[client.client_id] += delta;
  }
  void ClientTerminated(const std::string& client_id, const std::string&) override {
    absl::MutexLock lock(&mutex_);
    state_.terminated.push_back(client_id);
  }
  void ResolveTopic(std::string topic, Done<index::TopicDefinition> done) override {
    Run([topic = std::move(topic), done = std::move(done)]() mutable {
      if (topic == "missing") return std::move(done)(errors::TopicNotFound("topic 'missing' does not exist"));
      index::TopicDefinition definition;
      definition.name = topic;
      definition.queues = 4;
      std::move(done)(definition);
    });
  }
  void ResolveGroup(std::string group, Done<index::GroupDefinition> done) override {
    Run([this, group = std::move(group), done = std::move(done)]() mutable {
      absl::Status error;
      index::GroupDefinition definition;
      Peek([&](State& s) {
        s.resolved_groups.push_back(group);
        error = s.group_error;
        definition = s.group;
      });
      definition.name = group;
      if (error.ok()) std::move(done)(definition);
      else std::move(done)(error);
    });
  }
  void DescribeTopic(std::string, Done<TopicState> done) override { Refuse(std::move(done)); }
  void DescribeGroup(std::string, Done<GroupState> done) override { Refuse(std::move(done)); }
  void ResetGroupOffset(std::string, std::string, ResetOffset, DoneStatus done) override {
    Run([done = std::move(done)]() mutable { std::move(done)(absl::OkStatus()); });
  }
  void Status(Done<ShardStatus> done) override { Refuse(std::move(done)); }
  void Stop(absl::AnyInvocable<void() &&> done) override {
    Run([this, done = std::move(done)]() mutable {
      std::vector<ReceiveId> ids;
      Peek([&](State& s) {
        s.stopped = true;
        for (const auto& [id, parked] : s.parked) ids.push_back(id);
      });
      for (const ReceiveId id : ids) Answer(id, errors::HaNotAvailable("stopping"));
      std::move(done)();
    });
  }

 private:
  void Run(common::Executor::Task task) { executor_.Post(std::move(task)); }
  template <class T>
  void Refuse(Done<T> done) {
    Run([done = std::move(done)]() mutable { std::move(done)(errors::NotImplemented("not in the fake")); });
  }
  void Answer(ReceiveId id, absl::StatusOr<std::vector<Delivered>> answer) {
    std::optional<Done<std::vector<Delivered>>> done;
    {
      absl::MutexLock lock(&mutex_);
      const auto found = state_.parked.find(id);
      if (found == state_.parked.end()) return;
      done = std::move(found->second.second);
      state_.parked.erase(found);
    }
    std::move (*done)(std::move(answer));
  }
  // Gives what waits to who waits.
  void Serve() {
    for (;;) {
      ReceiveId id = 0;
      std::vector<Delivered> batch;
      {
        absl::MutexLock lock(&mutex_);
        if (state_.waiting.empty() || state_.parked.empty()) return;
        id = state_.parked.begin()->first;
        const int32_t max = state_.parked.begin()->second.first.max_messages;
        while (!state_.waiting.empty() && static_cast<int32_t>(batch.size()) < max) {
          batch.push_back(std::move(state_.waiting.front()));
          state_.waiting.pop_front();
        }
      }
      Answer(id, std::move(batch));
    }
  }

  common::Executor& executor_;
  std::atomic<ReceiveId> last_receive_ = 0;
  absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_FAKE_SHARD_TESTING_H_
