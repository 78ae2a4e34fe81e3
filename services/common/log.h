#ifndef FULMAR_COMMON_LOG_H_
#define FULMAR_COMMON_LOG_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fulmar::common {

// error: someone must act; warn: we coped, and a counter moved; info: state changed; debug: the rest.
enum class LogLevel { kDebug, kInfo, kWarn, kError };

// "debug", "info", "warn" or "error" in any case.
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name);
std::string_view LogLevelName(LogLevel level);

// A value as JSON knows them. Texts are borrowed for the duration of the call. A status is logged as its text.
class LogValue {
 public:
  using Variant = std::variant<bool, int64_t, uint64_t, double, std::string_view, std::string>;

  LogValue(bool value) : value_(value) {}
  LogValue(std::signed_integral auto value) : value_(static_cast<int64_t>(value)) {}
  LogValue(std::unsigned_integral auto value) : value_(static_cast<uint64_t>(value)) {}
  LogValue(double value) : value_(value) {}
  template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
  LogValue(const Text& value) : value_(static_cast<std::string_view>(value)) {}
  LogValue(const absl::Status& status) : value_(status.ToString()) {}
  LogValue(absl::Duration duration) : value_(absl::FormatDuration(duration)) {}

  const Variant& variant() const { return value_; }

 private:
  Variant value_;
};

struct LogField {
  std::string_view key;
  LogValue value;
};

// What the process logs goes to one place, so this is the one thing here that is global.
// Threads: any. Lines of one thread keep their order.
struct LogOptions {
  bool json = true;  // else text for people: "time level event key=value ..."
  LogLevel level = LogLevel::kInfo;
};
// Before this is called lines are written to stderr by the caller, in text. Afterwards a thread of its own writes
// them, and a caller never waits: when stderr is not read and 8192 lines wait, the oldest are dropped.
void StartLogging(const LogOptions& options);
// Writes what waits and goes back to the state before StartLogging(). main() calls it last.
void StopLogging();

// At run time, at once, for all threads.
void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();

namespace internal {
inline std::atomic<LogLevel> log_level{LogLevel::kInfo};
}  // namespace internal
inline bool LogEnabled(LogLevel level) { return level >= internal::log_level.load(std::memory_order_relaxed); }

// Use FULMAR_LOG, which does not look at the fields when the level is off. `suppressed` is logged when it is not 0.
void WriteLog(LogLevel level, std::string_view event, uint64_t suppressed,
              std::initializer_list<LogField> fields = {});

// One line of the form that StartLogging() chooses; public for its test.
std::string FormatLogLine(bool json, absl::Time now, LogLevel level, std::string_view event,
                          uint64_t suppressed, std::initializer_list<LogField> fields);

// Lets one event pass per `period`, counts the others. Threads: any.
class LogLimiter {
 public:
  explicit LogLimiter(absl::Duration period) : period_nanos_(absl::ToInt64Nanoseconds(period)) {}
  // True if the event may be logged; then `*suppressed` is the number of those that were not since the last one.
  bool Pass(uint64_t* suppressed);
  bool PassAt(int64_t now_nanos, uint64_t* suppressed);  // the same with the time from outside

 private:
  const int64_t period_nanos_;
  std::atomic<int64_t> next_nanos_{INT64_MIN};
  std::atomic<uint64_t> suppressed_{0};
};

// For tests: while it lives, lines (as JSON) are kept here instead of being written. One at a time.
class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;
  std::string Text() const;  // all lines, each with its newline
};

}  // namespace fulmar::common

// FULMAR_LOG(kInfo, "segment_rolled", {{"shard", shard}, {"bytes", bytes}});
#define FULMAR_LOG(level, event, ...)                                                                      \
  do {                                                                                                     \
    if (::fulmar::common::LogEnabled(::fulmar::common::LogLevel::level))                                   \
      ::fulmar::common::WriteLog(::fulmar::common::LogLevel::level, event, 0 __VA_OPT__(, ) __VA_ARGS__);  \
  } while (false)

// At most one line per `period` (an absl::Duration) from this place; the next line says how many were left out.
// FULMAR_LOG_EVERY(absl::Seconds(10), kWarn, "send_refused", {{"reason", reason}});
#define FULMAR_LOG_EVERY(period, level, event, ...)                                                        \
  do {                                                                                                     \
    static ::fulmar::common::LogLimiter fulmar_limiter{period};                                            \
    uint64_t fulmar_suppressed = 0;                                                                        \
    if (::fulmar::common::LogEnabled(::fulmar::common::LogLevel::level) &&                                 \
        fulmar_limiter.Pass(&fulmar_suppressed))                                                           \
      ::fulmar::common::WriteLog(::fulmar::common::LogLevel::level, event,                                 \
                                 fulmar_suppressed __VA_OPT__(, ) __VA_ARGS__);                            \
  } while (false)

#endif  // FULMAR_COMMON_LOG_H_
