#ifndef FULMAR_BROKER_FILTER_CACHE_H_
#define FULMAR_BROKER_FILTER_CACHE_H_

#include <cstddef>
#include <list>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "services/broker/filter.h"

namespace fulmar::broker {

// Filters by their expressions: a consumer sends its expression with every receive, and SQL is compiled for the first one only.
// Tags are not kept, reading them costs as little. The least recently used one goes first.
// Threads: any.
class FilterCache {
 public:
  struct Limits {
    size_t filters = 1024;
    size_t bytes = 1024 * 1024;  // of expressions; a compiled one takes about twenty times as much memory
  };
  FilterCache() : FilterCache(Limits()) {}
  explicit FilterCache(Limits limits) : limits_(limits) {}

  // As Filter::Parse(). Errors are not kept.
  absl::StatusOr<Filter> Get(FilterKind kind, std::string_view expression);

  size_t size() const;
  size_t bytes() const;

 private:
  struct Entry {
    std::string expression;
    Filter filter;
  };
  using Entries = std::list<Entry>;  // the most recently used first
  void DropOldLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits limits_;
  mutable absl::Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string_view, Entries::iterator> by_expression_ ABSL_GUARDED_BY(mutex_);  // keys point into the entries
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_FILTER_CACHE_H_
