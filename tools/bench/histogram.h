#ifndef FULMAR_TOOLS_BENCH_HISTOGRAM_H_
#define FULMAR_TOOLS_BENCH_HISTOGRAM_H_

#include <array>
#include <cstdint>

#include "absl/time/time.h"

namespace fulmar::bench {

// Counts durations in buckets whose width grows with the value (128 per power of two), so that every percentile is right to 1 %
// from nanoseconds to hours in 60 KiB. Threads: one at a time.
class Histogram {
 public:
  void Add(absl::Duration value);
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  absl::Duration max() const { return absl::Nanoseconds(max_); }
  absl::Duration Mean() const;
  // The smallest value that at least `percent` of all values do not exceed; zero without values.
  absl::Duration Percentile(double percent) const;

 private:
  static constexpr int kSubBits = 7;
  static constexpr int kSub = 1 << kSubBits;
  // Values below 2 * kSub have a bucket each; above, each power of two has kSub.
  static constexpr int kBuckets = (64 - kSubBits) * kSub;
  static int BucketOf(uint64_t nanoseconds);
  static uint64_t HighestOf(int bucket);

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_HISTOGRAM_H_
