#include "tools/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace fulmar::bench {

// v = 1xxxxxxx yyyy…  →  the position of the leading one and the kSubBits bits x behind it; y is lost.
int Histogram::BucketOf(uint64_t v) {
  if (v < 2 * kSub) return static_cast<int>(v);
  const int shift = std::bit_width(v) - 1 - kSubBits;
  return shift * kSub + static_cast<int>(v >> shift);
}

uint64_t Histogram::HighestOf(int bucket) {
  if (bucket < 2 * kSub) return static_cast<uint64_t>(bucket);
  const int shift = bucket / kSub - 1;
  const uint64_t leading = static_cast<uint64_t>(bucket % kSub + kSub);
  return ((leading + 1) << shift) - 1;
}

void Histogram::Add(absl::Duration value) {
  const auto nanoseconds = static_cast<uint64_t>(std::max<int64_t>(absl::ToInt64Nanoseconds(value), 0));
  ++counts_[BucketOf(nanoseconds)];
  ++count_;
  sum_ += static_cast<double>(nanoseconds);
  max_ = std::max(max_, nanoseconds);
}

void Histogram::Merge(const Histogram& other) {
  for (int i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

absl::Duration Histogram::Mean() const {
  return count_ == 0 ? absl::ZeroDuration() : absl::Nanoseconds(sum_ / static_cast<double>(count_));
}

absl::Duration Histogram::Percentile(double percent) const {
  if (count_ == 0) return absl::ZeroDuration();
  const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(percent * static_cast<double>(count_) / 100 - 1e-6)));
  uint64_t seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen >= rank) return absl::Nanoseconds(std::min(HighestOf(i), max_));
  }
  return max();
}

}  // namespace fulmar::bench
