#ifndef FULMAR_COMMON_METRICS_H_
#define FULMAR_COMMON_METRICS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace fulmar::common {

// Labels of one series: names and values from closed sets. Topics and groups only through a SeriesCap.
using MetricLabels = std::map<std::string, std::string>;

// The three kinds. Threads: any; each change is one or a few relaxed atomic additions and never blocks.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double n) { value_.fetch_add(n, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> upper_bounds);  // ascending; "+Inf" is added
  void Observe(double value);
  void Observe(absl::Duration time) { Observe(absl::ToDoubleSeconds(time)); }

  struct Snapshot {
    std::vector<uint64_t> counts;  // per bucket, not cumulative; one more than upper_bounds
    double sum = 0;
  };
  Snapshot Read() const;
  const std::vector<double>& upper_bounds() const { return upper_bounds_; }

 private:
  const std::vector<double> upper_bounds_;
  const std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

// 100 us to 30 s, about three steps per decade: from one group commit to a long poll.
std::vector<double> LatencyBuckets();
// 1, 4, 16, ... up to `max`: sizes of batches and of bytes.
std::vector<double> SizeBuckets(double max);

// All metrics of a process (or of one node of a simulation). Names are fulmar_<module>_<what>_<unit>; the name check
// stops the process on others, on a second kind under one name, and on counters that do not end in _total.
// Owns:    every metric; references stay good as long as it lives.
// Threads: any. Adding takes a lock: keep the reference, do not ask again on a hot path.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The same name and labels give the same object again.
  Counter& AddCounter(std::string_view name, std::string_view help, const MetricLabels& labels = {});
  Gauge& AddGauge(std::string_view name, std::string_view help, const MetricLabels& labels = {});
  Histogram& AddHistogram(std::string_view name, std::string_view help, std::vector<double> upper_bounds,
                          const MetricLabels& labels = {});
  // The series is no longer shown; its object is destroyed.
  void Remove(std::string_view name, const MetricLabels& labels);

  // A value that is asked for at each collection, on the collecting thread, under the lock of this object.
  // The answer removes it again when it is destroyed; it must go before what `read` looks at.
  class Callback {
   public:
    Callback() = default;
    Callback(Callback&& other) noexcept : remove_(std::exchange(other.remove_, nullptr)) {}
    Callback& operator=(Callback&& other) noexcept {
      Reset();
      remove_ = std::exchange(other.remove_, nullptr);
      return *this;
    }
    ~Callback() { Reset(); }
    void Reset() {
      if (remove_) std::exchange(remove_, nullptr)();
    }

   private:
    friend class Metrics;
    explicit Callback(std::function<void()> remove) : remove_(std::move(remove)) {}
    std::function<void()> remove_;
  };
  [[nodiscard]] Callback AddGaugeCallback(std::string_view name, std::string_view help, const MetricLabels& labels,
                                          std::function<double()> read);
  [[nodiscard]] Callback AddCounterCallback(std::string_view name, std::string_view help, const MetricLabels& labels,
                                            std::function<double()> read);

  // Everything in Prometheus' text format, sorted by name and labels.
  std::string Render() const;

 private:
  struct Family;
  struct Series;
  Family& FamilyOf(std::string_view name, std::string_view help, int kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Callback AddCallback(std::string_view name, std::string_view help, int kind, const MetricLabels& labels,
                       std::function<double()> read);

  mutable absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_ ABSL_GUARDED_BY(mutex_);
};

// Series whose label values come from outside (topics, groups): at most `max_series` of them; the values of all
// further ones become "other". Threads: any.
class SeriesCap {
 public:
  SeriesCap(std::vector<std::string> label_names, size_t max_series)
      : label_names_(std::move(label_names)), max_series_(max_series) {}

  // The labels for `values` (as many as names): themselves if known or if there is room, else all "other".
  MetricLabels Labels(const std::vector<std::string>& values);
  // Makes room. True if `values` had a series of its own (which the caller now removes from Metrics).
  bool Forget(const std::vector<std::string>& values);

 private:
  const std::vector<std::string> label_names_;
  const size_t max_series_;
  absl::Mutex mutex_;
  std::set<std::vector<std::string>> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_METRICS_H_
