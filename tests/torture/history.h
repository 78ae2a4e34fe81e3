#ifndef FULMAR_TESTS_TORTURE_HISTORY_H_
#define FULMAR_TESTS_TORTURE_HISTORY_H_

#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace fulmar::torture {

// What happened, as JSON lines (README.md), and what is still to be consumed. Threads: any.
class History {
 public:
  // Stops the process when the file cannot be made.
  explicit History(const std::string& path);
  ~History();

  struct Attempt {
    int64_t start_ns;
    std::string topic, id;
    uint32_t sum;
    int code;        // CodeOf()
    int64_t offset;  // when code is OK
  };
  void Sent(const Attempt& attempt);

  struct Delivery {
    int64_t start_ns;  // of the receive
    std::string group, topic, id;
    int queue;
    int64_t offset;
    int attempt;
    uint32_t sum;
    int64_t stored_ms;
    int64_t invisible_ms;
  };
  // A number for this delivery, which acknowledgements and changes name.
  int64_t Delivered(const Delivery& delivery);
  void Acknowledged(int64_t start_ns, int64_t delivery, int code);
  void Changed(int64_t start_ns, int64_t delivery, int64_t invisible_ms, int code);

  // A sender was told that `id` is stored: every group is to consume it.
  void Expect(const std::string& id, const std::vector<std::string>& groups);
  void Consumed(const std::string& group, const std::string& id);

  struct Progress {
    uint64_t stored, delivered, acknowledged;
    size_t unconsumed;
    int64_t last_delivery_ns;
  };
  Progress progress() const;

 private:
  void Line(const char* format, ...) __attribute__((format(printf, 2, 3))) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::FILE* const file_;
  int64_t next_delivery_ ABSL_GUARDED_BY(mutex_) = 0;
  Progress progress_ ABSL_GUARDED_BY(mutex_) = {};
  // (group, id). An id may be consumed before its sender has been told.
  std::set<std::pair<std::string, std::string>> unconsumed_ ABSL_GUARDED_BY(mutex_), early_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::torture

#endif  // FULMAR_TESTS_TORTURE_HISTORY_H_
