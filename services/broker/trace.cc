#include "services/broker/trace.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/common/crc32c.h"
#include "services/common/log.h"
#include "services/common/status.h"
#include "services/index/codec.h"

namespace fulmar::broker {
namespace {

constexpr std::string_view kMagic = "FTRC";
constexpr size_t kHeaderBytes = 4 + 4 + 4 + 8;
constexpr size_t kChunkBytes = 128 << 10;        // of events; then the chunk goes to the disk
constexpr size_t kMaxNames = 4096;               // of a chunk, the same
constexpr size_t kMaxNameBytes = 1024;           // longer ones are cut
constexpr absl::Duration kFlushAfter = absl::Seconds(1);
constexpr uint64_t kMaxWaiting = 4 << 20;        // while the disk is slow; then events are dropped
constexpr int64_t kPauseMs = 10'000;             // after a failed write

std::optional<uint64_t> NumberOf(std::string_view name) {
  uint64_t number = 0;
  if (!name.ends_with(".trace") || !absl::SimpleAtoi(name.substr(0, name.size() - 6), &number)) return std::nullopt;
  return number;
}

}  // namespace

// A look-up that goes through the files, one task each.
struct Trace::Search {
  std::vector<Id> ids;
  std::vector<TraceFile> files;
  size_t next = 0;
  std::vector<TraceEvent> found;
  absl::AnyInvocable<void(std::vector<TraceEvent>) &&> done;
};

Trace::Trace(std::string dir, uint64_t max_bytes, Env env)
    : dir_(std::move(dir)), max_bytes_(max_bytes), file_bytes_(std::clamp<uint64_t>(max_bytes / 16, 64 << 10, 8 << 20)), env_(env) {}

std::string Trace::PathOf(uint64_t number) const { return absl::StrFormat("%s/%010d.trace", dir_, number); }

template <class F>
void Trace::PostBack(F f) {
  env_.shard.Post([alive = std::weak_ptr<bool>(alive_), f = std::move(f)]() mutable {
    if (!alive.expired()) std::move(f)();
  });
}

absl::Status Trace::Open() {
  if (!on()) return absl::OkStatus();
  FULMAR_RETURN_IF_ERROR(env_.files.MakeDirs(dir_));
  FULMAR_ASSIGN_OR_RETURN(const std::vector<std::string> names, env_.files.List(dir_));
  for (const std::string& name : names) {
    const std::optional<uint64_t> number = NumberOf(name);
    if (!number) continue;
    // Its times are not looked up: searches read it whatever they ask for, and it is never written again.
    TraceFile file{.number = *number, .bytes = 0, .first_ms = 0, .last_ms = std::numeric_limits<int64_t>::max()};
    if (const auto opened = env_.files.Open(PathOf(*number), common::OpenMode::kRead); opened.ok()) file.bytes = (*opened)->Size().value_or(0);
    files_.push_back(file);
  }
  std::sort(files_.begin(), files_.end(), [](const TraceFile& a, const TraceFile& b) { return a.number < b.number; });
  return absl::OkStatus();
}

// ---- events come

uint64_t Trace::NameIndex(std::string_view name) {
  if (name.empty()) return 0;
  name = name.substr(0, kMaxNameBytes);
  const auto found = name_indexes_.find(name);
  if (found != name_indexes_.end()) return found->second;
  names_.emplace_back(name);
  return name_indexes_[names_.back()] = names_.size();
}

void Trace::Append(TraceKind kind, index::QueueId queue, int64_t offset, int32_t attempt, std::string_view group, std::string_view client) {
  const int64_t now_ms = absl::ToUnixMillis(env_.clock.Now());
  if (event_count_ == 0) {
    if (events_.capacity() == 0) events_.reserve(kChunkBytes + 64);
    first_ms_ = last_ms_ = now_ms;
    if (!timer_armed_) {
      timer_armed_ = true;
      env_.shard.After(kFlushAfter, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        timer_armed_ = false;
        Flush();
      });
    }
  }
  index::ByteWriter writer(events_);
  writer.U8(static_cast<uint8_t>(kind));
  writer.SignedVarint(now_ms - last_ms_);
  writer.Varint(queue.topic_id);
  writer.Varint(static_cast<uint64_t>(int64_t{queue.queue} + 1));
  writer.Varint(static_cast<uint64_t>(offset));
  writer.Varint(static_cast<uint32_t>(std::max(attempt, 0)));
  writer.Varint(NameIndex(group));
  writer.Varint(NameIndex(client));
  last_ms_ = now_ms;
  ++event_count_;
  if (events_.size() >= kChunkBytes || names_.size() >= kMaxNames) Flush();
}

void Trace::Flush() {
  Seal();
  WriteNext();
}

void Trace::WhenWritten(absl::AnyInvocable<void() &&> then) {
  when_written_.push_back(std::move(then));
  Flush();
}

void Trace::Seal() {
  if (event_count_ == 0) return;
  Chunk chunk{.bytes = {}, .first_ms = first_ms_, .last_ms = last_ms_, .events = event_count_};
  std::string payload;
  payload.reserve(events_.size() + 1024);
  index::ByteWriter writer(payload);
  writer.Varint(names_.size());
  for (const std::string& name : names_) writer.String(name);
  writer.Varint(event_count_);
  payload += events_;
  std::string checked;
  index::ByteWriter(checked).U32(static_cast<uint32_t>(payload.size()));
  index::ByteWriter(checked).I64(first_ms_);
  checked += payload;
  chunk.bytes = kMagic;
  index::ByteWriter(chunk.bytes).U32(common::Crc32c(checked));
  chunk.bytes += checked;
  events_.clear();
  event_count_ = 0;
  names_.clear();
  name_indexes_.clear();
  if (waiting_bytes_ + chunk.bytes.size() > kMaxWaiting || first_ms_ < not_before_ms_) {
    dropped_ += chunk.events;
    return;
  }
  waiting_bytes_ += chunk.bytes.size();
  waiting_.push_back(std::move(chunk));
}

// ---- files

void Trace::WriteNext() {
  if (writing_) return;
  if (waiting_.empty()) {
    for (auto& then : std::exchange(when_written_, {})) std::move(then)();
    return;
  }
  writing_ = true;
  Chunk chunk = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= chunk.bytes.size();
  const bool fresh = open_ == nullptr || files_.back().bytes + chunk.bytes.size() > file_bytes_;
  const uint64_t number = fresh ? (files_.empty() ? 1 : files_.back().number + 1) : files_.back().number;
  const uint64_t at = fresh ? 0 : files_.back().bytes;
  // The oldest go first, so that the bound holds at every moment.
  uint64_t total = chunk.bytes.size();
  for (const TraceFile& file : files_) total += file.bytes;
  std::vector<std::string> doomed;
  uint64_t removed_below = 0;
  for (size_t i = 0; i + (fresh ? 0 : 1) < files_.size() && total > max_bytes_; ++i) {
    total -= files_[i].bytes;
    removed_below = files_[i].number + 1;
    doomed.push_back(PathOf(files_[i].number));
  }
  env_.background.Post([this, alive = std::weak_ptr<bool>(alive_), &files = env_.files, &shard = env_.shard, path = PathOf(number), number, at, fresh, removed_below,
                        file = open_, doomed = std::move(doomed), chunk = std::move(chunk)]() mutable {
    for (const std::string& old : doomed) files.Remove(old).IgnoreError();
    absl::Status status;
    if (fresh) {
      auto opened = files.Open(path, common::OpenMode::kCreateOrOpen);
      status = opened.status();
      if (opened.ok()) file = *std::move(opened);
    }
    if (status.ok()) status = file->PWrite(at, chunk.bytes);
    shard.Post([this, alive, chunk = std::move(chunk), number, status, file = std::move(file), removed_below]() mutable {
      if (!alive.expired()) OnWritten(chunk, number, status, std::move(file), removed_below);
    });
  });
}

void Trace::OnWritten(const Chunk& chunk, uint64_t number, absl::Status status, std::shared_ptr<common::File> file, uint64_t removed_below) {
  writing_ = false;
  std::erase_if(files_, [removed_below](const TraceFile& old) { return old.number < removed_below; });
  if (files_.empty() || files_.back().number != number) files_.push_back({.number = number, .bytes = 0, .first_ms = chunk.first_ms, .last_ms = chunk.last_ms});
  TraceFile& newest = files_.back();
  newest.last_ms = std::max(newest.last_ms, chunk.last_ms);
  if (status.ok()) {
    newest.bytes += chunk.bytes.size();
    open_ = std::move(file);
  } else {
    // What lies behind the last good chunk is not known: nothing more goes into this file.
    open_ = nullptr;
    dropped_ += chunk.events;
    for (const Chunk& lost : waiting_) dropped_ += lost.events;
    waiting_.clear();
    waiting_bytes_ = 0;
    not_before_ms_ = absl::ToUnixMillis(env_.clock.Now()) + kPauseMs;
    FULMAR_LOG_EVERY(absl::Minutes(1), kWarn, "trace_not_written", {{"dir", dir_}, {"dropped_events", dropped_}, {"error", status}});
  }
  WriteNext();
}

// ---- look-ups

namespace {

// Calls `visit` for every event of the chunks in `bytes`.
void ForEachEvent(std::string_view bytes, absl::FunctionRef<void(const Trace::Id&, TraceEvent&&)> visit,
                  absl::FunctionRef<bool(const Trace::Id&)> wanted) {
  while (bytes.size() >= kHeaderBytes && bytes.substr(0, 4) == kMagic) {
    index::ByteReader header(bytes.substr(4));
    const uint32_t checksum = header.U32();
    const uint32_t payload_bytes = header.U32();
    int64_t time_ms = header.I64();
    if (payload_bytes > bytes.size() - kHeaderBytes || common::Crc32c(bytes.substr(8, 12 + payload_bytes)) != checksum) return;
    index::ByteReader in(bytes.substr(kHeaderBytes, payload_bytes));
    std::vector<std::string_view> names(in.Count(1));
    for (std::string_view& name : names) name = in.String();
    const auto name = [&](uint64_t at) { return at == 0 || at > names.size() ? std::string() : std::string(names[at - 1]); };
    for (size_t left = in.Count(8); left > 0 && in.ok(); --left) {
      const auto kind = static_cast<TraceKind>(in.U8());
      time_ms += in.SignedVarint();
      Trace::Id id;
      id.queue.topic_id = static_cast<uint32_t>(in.Varint());
      id.queue.queue = static_cast<int32_t>(static_cast<int64_t>(in.Varint()) - 1);
      id.offset = static_cast<int64_t>(in.Varint());
      const auto attempt = static_cast<int32_t>(in.Varint());
      const uint64_t group = in.Varint(), client = in.Varint();
      if (in.ok() && wanted(id)) visit(id, {.kind = kind, .time_ms = time_ms, .attempt = attempt, .group = name(group), .client = name(client)});
    }
    bytes.remove_prefix(kHeaderBytes + payload_bytes);
  }
}

}  // namespace

void Trace::Find(std::vector<Id> ids, absl::Time since, absl::AnyInvocable<void(std::vector<TraceEvent>) &&> done) {
  if (!on()) return PostBack([done = std::move(done)]() mutable { std::move(done)({}); });
  // What is in memory goes to the disk first, then there is one place to look.
  WhenWritten([this, ids = std::move(ids), since, done = std::move(done)]() mutable {
    auto search = std::make_shared<Search>();
    search->ids = std::move(ids);
    search->done = std::move(done);
    const int64_t since_ms = absl::ToUnixMillis(since);
    for (const TraceFile& file : files_) {
      if (file.last_ms >= since_ms) search->files.push_back(file);
    }
    ReadNext(std::move(search));
  });
}

void Trace::ReadNext(std::shared_ptr<Search> search) {
  if (search->next == search->files.size() || search->found.size() >= kMaxEvents) {
    std::stable_sort(search->found.begin(), search->found.end(), [](const TraceEvent& a, const TraceEvent& b) { return a.time_ms < b.time_ms; });
    return PostBack([search = std::move(search)]() mutable { std::move(search->done)(std::move(search->found)); });
  }
  env_.background.Post([this, alive = std::weak_ptr<bool>(alive_), &files = env_.files, &shard = env_.shard,
                        path = PathOf(search->files[search->next].number), search]() mutable {
    absl::StatusOr<std::string> bytes = common::ReadWholeFile(files, path);
    if (bytes.ok()) {
      const auto wanted = [&](const Id& id) { return std::find(search->ids.begin(), search->ids.end(), id) != search->ids.end(); };
      ForEachEvent(
          *bytes,
          [&](const Id&, TraceEvent&& event) {
            if (search->found.size() < kMaxEvents) search->found.push_back(std::move(event));
          },
          wanted);
    }
    ++search->next;
    shard.Post([this, alive, search = std::move(search)]() mutable {
      if (!alive.expired()) ReadNext(std::move(search));
    });
  });
}

}  // namespace fulmar::broker
