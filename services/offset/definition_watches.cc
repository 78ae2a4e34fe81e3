#include "services/offset/definition_watches.h"

#include <algorithm>

namespace fulmar::offset {

void DefinitionWatcher::Send(const index::DefinitionEvent& event) {
  absl::MutexLock lock(&mutex_);
  if (!closed_) on_event_(event);
}

void DefinitionWatcher::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

void DefinitionWatches::Publish(const index::DefinitionEvent& event) {
  watchers_.erase(std::remove_if(watchers_.begin(), watchers_.end(), [](const auto& weak) { return weak.expired(); }),
                  watchers_.end());
  for (const std::weak_ptr<DefinitionWatcher>& weak : watchers_) {
    if (const std::shared_ptr<DefinitionWatcher> watcher = weak.lock()) watcher->Send(event);
  }
}

}  // namespace fulmar::offset
