#ifndef FULMAR_OFFSET_DEFINITION_WATCHES_H_
#define FULMAR_OFFSET_DEFINITION_WATCHES_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "services/index/ports.h"

namespace fulmar::offset {

// One watcher: events go in on the shard executor, the owner of the handle ends it from any thread.
class DefinitionWatcher {
 public:
  using OnEvent = absl::AnyInvocable<void(index::DefinitionEvent)>;
  explicit DefinitionWatcher(OnEvent on_event) : on_event_(std::move(on_event)) {}

  void Send(const index::DefinitionEvent& event) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for a Send under way; none calls afterwards. Not from inside on_event.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Mutex mutex_;
  OnEvent on_event_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

// The watchers that live. Threads: the shard executor.
class DefinitionWatches {
 public:
  void Add(std::weak_ptr<DefinitionWatcher> watcher) { watchers_.push_back(std::move(watcher)); }
  void Publish(const index::DefinitionEvent& event);

 private:
  std::vector<std::weak_ptr<DefinitionWatcher>> watchers_;
};

// What the caller of WatchDefinitions holds.
class WatchHandle : public index::DefinitionStore::Watch {
 public:
  explicit WatchHandle(std::shared_ptr<DefinitionWatcher> watcher) : watcher_(std::move(watcher)) {}
  ~WatchHandle() override { watcher_->Close(); }

 private:
  const std::shared_ptr<DefinitionWatcher> watcher_;
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_DEFINITION_WATCHES_H_
