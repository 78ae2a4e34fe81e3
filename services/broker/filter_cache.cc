#include "services/broker/filter_cache.h"

#include <utility>

#include "services/common/status.h"

namespace fulmar::broker {

absl::StatusOr<Filter> FilterCache::Get(FilterKind kind, std::string_view expression) {
  if (kind != FilterKind::kSql) return Filter::Parse(kind, expression);
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = by_expression_.find(expression); found != by_expression_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->filter;
    }
  }
  FULMAR_ASSIGN_OR_RETURN(const Filter filter, Filter::Parse(kind, expression));
  absl::MutexLock lock(&mutex_);
  if (by_expression_.contains(expression)) return filter;  // another thread was as fast
  entries_.push_front({std::string(expression), filter});
  by_expression_.emplace(entries_.front().expression, entries_.begin());
  bytes_ += expression.size();
  DropOldLocked();
  return filter;
}

void FilterCache::DropOldLocked() {
  while (entries_.size() > limits_.filters || bytes_ > limits_.bytes) {
    bytes_ -= entries_.back().expression.size();
    by_expression_.erase(entries_.back().expression);
    entries_.pop_back();
  }
}

size_t FilterCache::size() const {
  absl::MutexLock lock(&mutex_);
  return entries_.size();
}

size_t FilterCache::bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

}  // namespace fulmar::broker
