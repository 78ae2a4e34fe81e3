#include "services/registry/announcer.h"

#include <algorithm>
#include <utility>

namespace fulmar::registry {

struct Announcer::Shared : std::enable_shared_from_this<Announcer::Shared> {
  Shared(Options o, common::Executor& e, AskState a, index::DefinitionStore& d, std::vector<std::unique_ptr<AnnounceSink>> s)
      : options(std::move(o)), executor(e), ask_state(std::move(a)), definitions(d) {
    for (std::unique_ptr<AnnounceSink>& sink : s) registries.push_back({std::move(sink), 0});
  }

  struct Registry {
    std::unique_ptr<AnnounceSink> sink;
    uint64_t sent_version = 0;  // of definitions, on the present connection
  };

  const Options options;
  common::Executor& executor;
  AskState ask_state;
  index::DefinitionStore& definitions;
  std::unique_ptr<index::DefinitionStore::Watch> watch;

  // On the executor only.
  std::vector<Registry> registries;
  absl::btree_map<std::string, index::TopicDefinition> topics;
  absl::btree_map<std::string, uint64_t> deleted;  // name -> version
  bool stopped = false;
  bool changed_soon = false;

  void OnDefinition(index::DefinitionEvent event) {
    if (event.kind == index::DefinitionEvent::kTopic) {
      const std::vector<std::string>& shards = event.topic.shards;
      const bool ours = shards.empty() || std::find(shards.begin(), shards.end(), options.shard) != shards.end();
      if (!ours) return;
      deleted.erase(event.topic.name);
      topics[event.topic.name] = std::move(event.topic);
    } else if (event.kind == index::DefinitionEvent::kTopicDeleted) {
      topics.erase(event.topic.name);
      deleted[event.topic.name] = event.topic.version;
    } else {
      return;
    }
    if (std::exchange(changed_soon, true)) return;
    executor.Post([self = shared_from_this()] {
      self->changed_soon = false;
      self->AskAndSend();
    });
  }

  void AskAndSend() {
    if (stopped) return;
    ask_state([self = shared_from_this()](State state) {
      self->executor.Post([self, state] { self->Send(state); });
    });
  }

  void Send(State state) {
    if (stopped) return;
    for (Registry& registry : registries) {
      Announcement announcement;
      announcement.full = registry.sink->TakeFresh();
      if (announcement.full) registry.sent_version = 0;
      announcement.shard = options.shard;
      announcement.replica = options.replica;
      announcement.term = state.term;
      announcement.leader = state.leader;
      announcement.serving = state.serving;
      announcement.endpoint = options.endpoint;
      announcement.version = options.version;
      announcement.lease = options.lease;
      uint64_t newest = registry.sent_version;
      for (const auto& [name, topic] : topics) {
        if (topic.version <= registry.sent_version) continue;
        announcement.topics.push_back(topic);
        newest = std::max(newest, topic.version);
      }
      for (const auto& [name, version] : deleted) {
        if (version <= registry.sent_version) continue;
        announcement.deleted_topics.push_back(name);
        newest = std::max(newest, version);
      }
      registry.sent_version = newest;
      registry.sink->Send(announcement);
    }
  }

  void Period() {
    if (stopped) return;
    AskAndSend();
    executor.After(options.period, [self = shared_from_this()] { self->Period(); });
  }
};

Announcer::Announcer(Options options, common::Executor& executor, AskState ask_state, index::DefinitionStore& definitions,
                     std::vector<std::unique_ptr<AnnounceSink>> sinks)
    : shared_(std::make_shared<Shared>(std::move(options), executor, std::move(ask_state), definitions, std::move(sinks))) {}

Announcer::~Announcer() {
  shared_->watch.reset();
  shared_->executor.Post([shared = shared_] { shared->stopped = true; });
}

void Announcer::Start() {
  std::weak_ptr<Shared> weak = shared_;
  shared_->watch = shared_->definitions.WatchDefinitions(0, [weak](index::DefinitionEvent event) {
    std::shared_ptr<Shared> shared = weak.lock();
    if (shared == nullptr) return;
    shared->executor.Post([shared, event = std::move(event)]() mutable { shared->OnDefinition(std::move(event)); });
  });
  shared_->executor.Post([shared = shared_] { shared->Period(); });
}

void Announcer::Stop(absl::AnyInvocable<void() &&> done) {
  shared_->executor.Post([shared = shared_, done = std::move(done)]() mutable {
    if (!std::exchange(shared->stopped, true)) {
      for (Shared::Registry& registry : shared->registries) registry.sink->Leave(shared->options.shard, shared->options.replica);
    }
    std::move(done)();
  });
}

}  // namespace fulmar::registry
