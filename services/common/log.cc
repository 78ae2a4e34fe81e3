#include "services/common/log.h"

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "services/common/status.h"
#include "spdlog/async.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace fulmar::common {
namespace {

constexpr size_t kWaitingLines = 8192;

// Where lines go now.
struct Output {
  absl::Mutex mutex;
  bool json ABSL_GUARDED_BY(mutex) = false;
  bool capturing ABSL_GUARDED_BY(mutex) = false;
  std::string captured ABSL_GUARDED_BY(mutex);
  std::shared_ptr<spdlog::logger> logger ABSL_GUARDED_BY(mutex);
  std::shared_ptr<spdlog::details::thread_pool> writer ABSL_GUARDED_BY(mutex);  // ends, and joins, with its last user
};

Output& TheOutput() {
  static Output& output = *new Output;  // never destroyed: threads may log while the process exits
  return output;
}

std::shared_ptr<spdlog::logger> MakeDirectLogger() {
  auto logger = std::make_shared<spdlog::logger>("fulmar", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);  // log_level decides, not spdlog
  return logger;
}

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;  // clang 14 does not deduce it for an aggregate

std::string TextOf(const LogValue& value) {
  return std::visit(Overloaded{[](bool b) { return std::string(b ? "true" : "false"); },
                               [](std::string_view text) { return std::string(text); },
                               [](const auto& other) { return absl::StrCat(other); }},
                    value.variant());
}

std::string JsonText(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// As it is when that reads well, else in quotes.
std::string QuotedIfNeeded(std::string text) {
  const bool plain = !text.empty() && text.find_first_of(" \"=\\\n\r\t") == std::string::npos;
  return plain ? text : JsonText(text);
}

}  // namespace

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  for (LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError})
    if (absl::EqualsIgnoreCase(name, LogLevelName(level))) return level;
  return absl::InvalidArgumentError(absl::StrCat("log level '", name, "' is not one of debug, info, warn, error"));
}

std::string_view LogLevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarn: return "warn";
    case LogLevel::kError: return "error";
  }
  return "info";
}

void SetLogLevel(LogLevel level) { internal::log_level.store(level, std::memory_order_relaxed); }
LogLevel GetLogLevel() { return internal::log_level.load(std::memory_order_relaxed); }

void StartLogging(const LogOptions& options) {
  SetLogLevel(options.level);
  auto writer = std::make_shared<spdlog::details::thread_pool>(kWaitingLines, 1);
  auto logger = std::make_shared<spdlog::async_logger>("fulmar", std::make_shared<spdlog::sinks::stderr_sink_mt>(),
                                                       writer, spdlog::async_overflow_policy::overrun_oldest);
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);

  Output& output = TheOutput();
  absl::MutexLock lock(&output.mutex);
  output.json = options.json;
  output.writer.swap(writer);  // the previous one ends after the unlock
  output.logger = std::move(logger);
}

void StopLogging() {
  std::shared_ptr<spdlog::details::thread_pool> writer;
  std::shared_ptr<spdlog::logger> logger;
  Output& output = TheOutput();
  {
    absl::MutexLock lock(&output.mutex);
    writer = std::move(output.writer);
    logger = std::exchange(output.logger, nullptr);
    output.json = false;
  }
  logger.reset();
  writer.reset();  // writes what waits and joins, unless another thread is just logging: then that one does
}

void WriteLog(LogLevel level, std::string_view event, uint64_t suppressed, std::initializer_list<LogField> fields) {
  const absl::Time now = absl::Now();
  Output& output = TheOutput();
  std::shared_ptr<spdlog::logger> logger;
  std::shared_ptr<spdlog::details::thread_pool> writer;
  bool json;
  {
    absl::MutexLock lock(&output.mutex);
    if (output.capturing) {
      absl::StrAppend(&output.captured, FormatLogLine(true, now, level, event, suppressed, fields), "\n");
      return;
    }
    if (output.logger == nullptr) output.logger = MakeDirectLogger();
    logger = output.logger;
    writer = output.writer;
    json = output.json;
  }
  logger->log(spdlog::level::info, spdlog::string_view_t(FormatLogLine(json, now, level, event, suppressed, fields)));
}

std::string FormatLogLine(bool json, absl::Time now, LogLevel level, std::string_view event,
                          uint64_t suppressed, std::initializer_list<LogField> fields) {
  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", now, absl::UTCTimeZone());
  if (json) {
    nlohmann::ordered_json line = {{"time", time}, {"level", LogLevelName(level)}, {"event", event}};
    for (const LogField& field : fields)
      std::visit([&line, &field](const auto& value) { line[std::string(field.key)] = value; }, field.value.variant());
    if (suppressed > 0) line["suppressed"] = suppressed;
    return JsonText(line);
  }
  std::string line = absl::StrCat(time, " ", LogLevelName(level), " ", event);
  for (const LogField& field : fields) absl::StrAppend(&line, " ", field.key, "=", QuotedIfNeeded(TextOf(field.value)));
  if (suppressed > 0) absl::StrAppend(&line, " suppressed=", suppressed);
  return line;
}

bool LogLimiter::Pass(uint64_t* suppressed) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return PassAt(now.tv_sec * 1'000'000'000 + now.tv_nsec, suppressed);
}

bool LogLimiter::PassAt(int64_t now_nanos, uint64_t* suppressed) {
  int64_t next = next_nanos_.load(std::memory_order_relaxed);
  if (now_nanos < next || !next_nanos_.compare_exchange_strong(next, now_nanos + period_nanos_)) {
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  *suppressed = suppressed_.exchange(0, std::memory_order_relaxed);
  return true;
}

LogCapture::LogCapture() {
  absl::MutexLock lock(&TheOutput().mutex);
  FULMAR_CHECK(!std::exchange(TheOutput().capturing, true), "two LogCaptures at a time");
  TheOutput().captured.clear();
}

LogCapture::~LogCapture() {
  absl::MutexLock lock(&TheOutput().mutex);
  TheOutput().capturing = false;
}

std::string LogCapture::Text() const {
  absl::MutexLock lock(&TheOutput().mutex);
  return TheOutput().captured;
}

}  // namespace fulmar::common
