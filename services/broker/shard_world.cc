#include "services/broker/shard_world.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::broker {

// ---- FakeProgressStore

void FakeProgressStore::Claim(std::string, Term term, index::Done<std::vector<index::QueueProgress>> done) {
  if (silent) return;
  executor_.Post([this, term, done = std::move(done)]() mutable {
    if (away) return std::move(done)(absl::UnavailableError("the offset service is away"));
    if (term < claimed) return std::move(done)(absl::FailedPreconditionError("claimed by a higher term"));
    claimed = term;
    std::vector<index::QueueProgress> all;
    for (const auto& [key, entry] : kept) all.push_back(entry);
    std::move(done)(std::move(all));
  });
}

void FakeProgressStore::Write(std::string, Term term, std::vector<index::QueueProgress> entries, index::DoneStatus done) {
  ++writes;
  largest_write = std::max(largest_write, entries.size());
  if (silent) return;
  executor_.Post([this, term, entries = std::move(entries), done = std::move(done)]() mutable {
    if (away) return std::move(done)(absl::UnavailableError("the offset service is away"));
    if (term != claimed) return std::move(done)(absl::FailedPreconditionError("claimed by a higher term"));
    for (index::QueueProgress& entry : entries) {
      Key key{entry.group, entry.topic_id, entry.queue};
      // As the real one does: through bytes.
      absl::StatusOr<index::QueueProgress> decoded = index::DecodeProgress(index::Encode(entry));
      FULMAR_CHECK(decoded.ok(), decoded.status().message());
      if (entry.deleted) {
        kept.erase(key);
      } else {
        kept[key] = *std::move(decoded);
      }
    }
    std::move(done)(absl::OkStatus());
  });
}

// ---- FakeDefinitionStore

struct FakeDefinitionStore::Watcher : Watch {
  Watcher(FakeDefinitionStore& its_store, absl::AnyInvocable<void(index::DefinitionEvent)> callback)
      : store(its_store), on_event(std::move(callback)) {
    store.watchers_.insert(this);
  }
  ~Watcher() override { store.watchers_.erase(this); }
  FakeDefinitionStore& store;
  absl::AnyInvocable<void(index::DefinitionEvent)> on_event;
};

template <class T>
void FakeDefinitionStore::Answer(index::Done<T> done, absl::StatusOr<T> result) {
  ++lookups;
  auto answer = [this, done = std::move(done), result = std::move(result)]() mutable {
    if (away) return std::move(done)(absl::UnavailableError("the offset service is away"));
    std::move(done)(std::move(result));
  };
  if (hold) {
    held_.push_back(std::move(answer));
  } else {
    executor_.Post(std::move(answer));
  }
}

void FakeDefinitionStore::Release() {
  hold = false;
  for (auto& answer : std::exchange(held_, {})) executor_.Post(std::move(answer));
}

void FakeDefinitionStore::Tell(index::DefinitionEvent event) {
  executor_.Post([this, event] {
    for (Watcher* watcher : std::set<Watcher*>(watchers_)) watcher->on_event(event);
  });
}

void FakeDefinitionStore::EnsureTopic(index::TopicDefinition topic, index::Done<index::TopicDefinition> done) {
  auto it = topics.find(topic.name);
  if (it == topics.end()) {
    topic.topic_id = ++last_topic_id_;
    topic.version = ++version_;
    it = topics.emplace(topic.name, topic).first;
    Tell({.kind = index::DefinitionEvent::kTopic, .topic = topic, .group = {}});
  }
  Answer<index::TopicDefinition>(std::move(done), it->second);
}

void FakeDefinitionStore::UpdateTopic(index::TopicDefinition topic, index::Done<index::TopicDefinition> done) {
  topic.topic_id = topics[topic.name].topic_id;
  topic.version = ++version_;
  topics[topic.name] = topic;
  Tell({.kind = index::DefinitionEvent::kTopic, .topic = topic, .group = {}});
  Answer<index::TopicDefinition>(std::move(done), topic);
}

void FakeDefinitionStore::DeleteTopic(std::string name, index::DoneStatus done) {
  index::TopicDefinition gone = topics[name];
  topics.erase(name);
  gone.version = ++version_;
  index::DefinitionEvent event{.kind = index::DefinitionEvent::kTopicDeleted, .topic = gone, .group = {}};
  deletions_.push_back(event);
  Tell(event);
  executor_.Post([done = std::move(done)]() mutable { std::move(done)(absl::OkStatus()); });
}

void FakeDefinitionStore::GetTopic(std::string name, index::Done<index::TopicDefinition> done) {
  auto it = topics.find(name);
  if (it == topics.end()) return Answer<index::TopicDefinition>(std::move(done), absl::NotFoundError(name));
  Answer<index::TopicDefinition>(std::move(done), it->second);
}

void FakeDefinitionStore::ListTopics(index::Done<std::vector<index::TopicDefinition>> done) {
  std::vector<index::TopicDefinition> all;
  for (const auto& [name, topic] : topics) all.push_back(topic);
  Answer<std::vector<index::TopicDefinition>>(std::move(done), std::move(all));
}

void FakeDefinitionStore::EnsureGroup(index::GroupDefinition group, index::Done<index::GroupDefinition> done) {
  auto it = groups.find(group.name);
  if (it == groups.end()) {
    group.version = ++version_;
    it = groups.emplace(group.name, group).first;
    Tell({.kind = index::DefinitionEvent::kGroup, .topic = {}, .group = group});
  }
  Answer<index::GroupDefinition>(std::move(done), it->second);
}

void FakeDefinitionStore::UpdateGroup(index::GroupDefinition group, index::Done<index::GroupDefinition> done) {
  group.version = ++version_;
  groups[group.name] = group;
  Tell({.kind = index::DefinitionEvent::kGroup, .topic = {}, .group = group});
  Answer<index::GroupDefinition>(std::move(done), group);
}

void FakeDefinitionStore::DeleteGroup(std::string name, index::DoneStatus done) {
  index::GroupDefinition gone = groups[name];
  groups.erase(name);
  gone.version = ++version_;
  index::DefinitionEvent event{.kind = index::DefinitionEvent::kGroupDeleted, .topic = {}, .group = gone};
  deletions_.push_back(event);
  Tell(event);
  executor_.Post([done = std::move(done)]() mutable { std::move(done)(absl::OkStatus()); });
}

void FakeDefinitionStore::GetGroup(std::string name, index::Done<index::GroupDefinition> done) {
  auto it = groups.find(name);
  if (it == groups.end()) return Answer<index::GroupDefinition>(std::move(done), absl::NotFoundError(name));
  Answer<index::GroupDefinition>(std::move(done), it->second);
}

void FakeDefinitionStore::ListGroups(index::Done<std::vector<index::GroupDefinition>> done) {
  std::vector<index::GroupDefinition> all;
  for (const auto& [name, group] : groups) all.push_back(group);
  Answer<std::vector<index::GroupDefinition>>(std::move(done), std::move(all));
}

std::unique_ptr<index::DefinitionStore::Watch> FakeDefinitionStore::WatchDefinitions(
    uint64_t since_version, absl::AnyInvocable<void(index::DefinitionEvent)> on_event) {
  auto watcher = std::make_unique<Watcher>(*this, std::move(on_event));
  executor_.Post([this, since_version, it = watcher.get()] {
    if (!watchers_.contains(it)) return;
    for (const auto& [name, topic] : topics) it->on_event({.kind = index::DefinitionEvent::kTopic, .topic = topic, .group = {}});
    for (const auto& [name, group] : groups) it->on_event({.kind = index::DefinitionEvent::kGroup, .topic = {}, .group = group});
    for (const index::DefinitionEvent& event : deletions_) {
      if (std::max(event.topic.version, event.group.version) > since_version) it->on_event(event);
    }
  });
  return watcher;
}

// ---- ShardWorld

ShardWorld::ShardWorld(uint64_t seed)
    : random(seed),
      scheduler(clock, &random),
      files(seed + 1),
      stores_executor(scheduler, "stores"),
      kv(std::make_unique<index::MemKv>()),
      progress(stores_executor),
      definitions(stores_executor) {
  options.name = "shard-a";
  options.log.dir = "/data/log";
  options.log.segment_bytes = 1 << 20;
  options.error_delay = absl::Seconds(1);
}

ShardWorld::~ShardWorld() { End(); }

absl::Status ShardWorld::TryStart() {
  threads_ = std::make_unique<Threads>(scheduler);
  absl::StatusOr<std::unique_ptr<Shard>> opened = Shard::Open(options, {.files = *shard_files,
                                                                        .clock = clock,
                                                                        .random = random,
                                                                        .shard = threads_->shard,
                                                                        .writer = threads_->writer,
                                                                        .reader = threads_->reader,
                                                                        .kv = *kv,
                                                                        .progress = progress,
                                                                        .definitions = definitions,
                                                                        .observer = &counts,
                                                                        .log_observer = nullptr});
  if (!opened.ok()) {
    threads_.reset();
    return opened.status();
  }
  shard = *std::move(opened);
  shard->Start();
  return absl::OkStatus();
}

void ShardWorld::Start(bool wait) {
  const absl::Status started = TryStart();
  FULMAR_CHECK(started.ok(), started.ToString());
  if (!wait) return;
  for (int i = 0; i < 1000 && !Status().serving; ++i) scheduler.RunFor(absl::Milliseconds(10));
  FULMAR_CHECK(Status().serving, Status().health.ToString());
}

void ShardWorld::End() {
  if (!threads_) return;
  threads_->shard.Stop();
  threads_->writer.Stop();
  threads_->reader.Stop();
  shard.reset();
  threads_.reset();
}

void ShardWorld::Stop() {
  bool stopped = false;
  shard->Stop([&] { stopped = true; });
  FULMAR_CHECK(scheduler.RunUntil([&] { return stopped; }, absl::Minutes(1)), "Stop() did not end");
  End();
  files.KillProcess();
}

void ShardWorld::Kill() {
  End();
  files.KillProcess();
  kv->Crash(random.Next() % (kv->UnflushedBatches() + 1));
}

void ShardWorld::LosePower() {
  End();
  files.LosePower();
  kv->Crash(0);
}

SendCommand ShardWorld::MakeSend(const std::string& topic, const std::vector<std::string>& bodies, const std::string& tag) {
  SendCommand command;
  command.client.client_id = "producer";
  command.topic = topic;
  for (const std::string& body : bodies) {
    MessageView view;
    view.type = 1;
    const std::string id = absl::StrCat("id-", body.substr(0, 60));
    view.message_id = id;
    view.tag = tag;
    view.tag_hash = tag.empty() ? 0 : TagHash(tag);
    view.body = body;
    command.messages.push_back({EncodeMessageRecord(view), id, view.tag_hash});
  }
  return command;
}

ReceiveCommand ShardWorld::MakeReceive(const std::string& topic, const std::string& group, ReceiveCommand command) {
  command.topic = topic;
  command.group = group;
  if (command.client.client_id.empty()) command.client.client_id = "consumer";
  if (!command.auto_renew && command.invisible_duration == absl::ZeroDuration()) command.invisible_duration = absl::Seconds(30);
  return command;
}

absl::StatusOr<std::vector<SendOutcome>> ShardWorld::Send(const std::string& topic, const std::vector<std::string>& bodies,
                                                          const std::string& tag) {
  std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
  shard->Send(MakeSend(topic, bodies, tag), [&](absl::StatusOr<std::vector<SendOutcome>> result) { answer = std::move(result); });
  return Await(answer);
}

absl::StatusOr<std::vector<Delivered>> ShardWorld::Receive(const std::string& topic, const std::string& group, ReceiveCommand command) {
  std::optional<absl::StatusOr<std::vector<Delivered>>> answer;
  shard->Receive(MakeReceive(topic, group, std::move(command)),
                 [&](absl::StatusOr<std::vector<Delivered>> result) { answer = std::move(result); });
  return Await(answer);
}

absl::Status ShardWorld::Ack(const std::string& topic, const std::string& group, const std::string& handle) {
  std::optional<absl::StatusOr<std::vector<absl::Status>>> answer;
  shard->Ack({.client = {.client_id = "consumer"}, .topic = topic, .group = group, .entries = {{handle, ""}}},
             [&](absl::StatusOr<std::vector<absl::Status>> result) { answer = std::move(result); });
  const auto statuses = Await(answer);
  return statuses.ok() ? statuses->front() : statuses.status();
}

absl::StatusOr<std::string> ShardWorld::Change(const std::string& topic, const std::string& group, const std::string& handle,
                                               absl::Duration time) {
  std::optional<absl::StatusOr<std::string>> answer;
  shard->ChangeInvisible({.client = {.client_id = "consumer"},
                          .topic = topic,
                          .group = group,
                          .receipt_handle = handle,
                          .message_id = "",
                          .invisible_duration = time},
                         [&](absl::StatusOr<std::string> result) { answer = std::move(result); });
  return Await(answer);
}

absl::Status ShardWorld::Forward(const std::string& topic, const std::string& group, const std::string& handle) {
  std::optional<absl::StatusOr<bool>> answer;
  shard->ForwardToDeadLetter(
      {.client = {.client_id = "consumer"}, .topic = topic, .group = group, .receipt_handle = handle, .message_id = "", .delivery_attempt = 1},
      [&](const absl::Status& status) { answer = status.ok() ? absl::StatusOr<bool>(true) : absl::StatusOr<bool>(status); });
  return Await(answer).status();
}

absl::StatusOr<GroupState> ShardWorld::Group(const std::string& group) {
  std::optional<absl::StatusOr<GroupState>> answer;
  shard->DescribeGroup(group, [&](absl::StatusOr<GroupState> result) { answer = std::move(result); });
  return Await(answer);
}

ShardStatus ShardWorld::Status() {
  std::optional<absl::StatusOr<ShardStatus>> answer;
  shard->Status([&](absl::StatusOr<ShardStatus> result) { answer = std::move(result); });
  return Await(answer).value();
}

std::vector<std::string> ShardWorld::Drain(const std::string& topic, const std::string& group) {
  std::vector<std::string> bodies;
  while (true) {
    const auto received = Receive(topic, group);
    if (!received.ok()) return bodies;
    for (const Delivered& delivered : *received) {
      bodies.push_back(Body(delivered));
      const absl::Status acknowledged = Ack(topic, group, delivered.receipt_handle);
      FULMAR_CHECK(acknowledged.ok(), acknowledged.ToString());
    }
  }
}

std::string ShardWorld::Body(const Delivered& delivered) {
  const absl::StatusOr<MessageView> message = ParseMessageRecord(delivered.record.view());
  FULMAR_CHECK(message.ok(), message.status().ToString());
  return std::string(message->body);
}

}  // namespace fulmar::broker
