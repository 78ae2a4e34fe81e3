#include "tests/torture/history.h"

#include <cstdarg>
#include <cstdlib>

#include "apache/rocketmq/v2/definition.pb.h"
#include "tests/torture/wire.h"

namespace fulmar::torture {

History::History(const std::string& path) : file_(std::fopen(path.c_str(), "w")) {
  if (file_ == nullptr) {
    std::perror(path.c_str());
    std::exit(1);
  }
}

History::~History() { std::fclose(file_); }

void History::Line(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(file_, format, arguments);
  va_end(arguments);
}

void History::Sent(const Attempt& a) {
  const int64_t now = NowNs();
  absl::MutexLock lock(&mutex_);
  if (a.code == v2::OK) ++progress_.stored;
  Line(R"({"e":"send","s":%ld,"t":%ld,"topic":"%s","id":"%s","sum":%u,"code":%d,"offset":%ld})" "\n", a.start_ns, now, a.topic.c_str(), a.id.c_str(),
       a.sum, a.code, a.offset);
}

int64_t History::Delivered(const Delivery& d) {
  const int64_t now = NowNs();
  absl::MutexLock lock(&mutex_);
  ++progress_.delivered;
  progress_.last_delivery_ns = now;
  Line(R"({"e":"recv","s":%ld,"t":%ld,"n":%ld,"group":"%s","topic":"%s","id":"%s","queue":%d,"offset":%ld,"attempt":%d,"sum":%u,"stored":%ld,"inv":%ld})" "\n",
       d.start_ns, now, next_delivery_, d.group.c_str(), d.topic.c_str(), d.id.c_str(), d.queue, d.offset, d.attempt, d.sum, d.stored_ms,
       d.invisible_ms);
  return next_delivery_++;
}

void History::Acknowledged(int64_t start_ns, int64_t delivery, int code) {
  const int64_t now = NowNs();
  absl::MutexLock lock(&mutex_);
  if (code == v2::OK) ++progress_.acknowledged;
  Line(R"({"e":"ack","s":%ld,"t":%ld,"n":%ld,"code":%d})" "\n", start_ns, now, delivery, code);
}

void History::Changed(int64_t start_ns, int64_t delivery, int64_t invisible_ms, int code) {
  const int64_t now = NowNs();
  absl::MutexLock lock(&mutex_);
  Line(R"({"e":"change","s":%ld,"t":%ld,"n":%ld,"inv":%ld,"code":%d})" "\n", start_ns, now, delivery, invisible_ms, code);
}

void History::Expect(const std::string& id, const std::vector<std::string>& groups) {
  absl::MutexLock lock(&mutex_);
  for (const std::string& group : groups)
    if (early_.erase({group, id}) == 0) unconsumed_.emplace(group, id);
}

void History::Consumed(const std::string& group, const std::string& id) {
  absl::MutexLock lock(&mutex_);
  if (unconsumed_.erase({group, id}) == 0) early_.emplace(group, id);
}

History::Progress History::progress() const {
  absl::MutexLock lock(&mutex_);
  Progress progress = progress_;
  progress.unconsumed = unconsumed_.size();
  return progress;
}

}  // namespace fulmar::torture
