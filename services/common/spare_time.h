#ifndef FULMAR_COMMON_SPARE_TIME_H_
#define FULMAR_COMMON_SPARE_TIME_H_

#include <cstdint>

namespace fulmar::common {

// Whether a thread has time for the work of another one, judged by how much of the last few milliseconds it worked. Not by the
// time that it waited for a processor: where none is free, a second thread would be no help.
// Plain arithmetic; one thread.
class SpareTime {
 public:
  // Begins to measure. `now` is on the steady clock, `cpu` what the thread has used of a processor; both in nanoseconds.
  SpareTime(int64_t now, int64_t cpu) : since_(now), cpu_(cpu) {}

  bool has_time() const { return has_time_; }
  // Whether Update() would look at `cpu`: asking for that is a system call.
  bool IsDue(int64_t now) const { return now - since_ >= kPeriod; }
  void Update(int64_t now, int64_t cpu) {
    if (!IsDue(now)) return;
    const double used = static_cast<double>(cpu - cpu_) / static_cast<double>(now - since_);
    if (used > kBusy) has_time_ = false;
    if (used < kSpare) has_time_ = true;
    since_ = now;
    cpu_ = cpu;
  }

 private:
  static constexpr int64_t kPeriod = 5'000'000;
  // The gap is more than the other one's work is likely to take: the two states must not alternate.
  static constexpr double kBusy = 0.8;
  static constexpr double kSpare = 0.5;

  int64_t since_;
  int64_t cpu_;
  bool has_time_ = true;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_SPARE_TIME_H_
