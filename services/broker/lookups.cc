#include "services/broker/lookups.h"

#include <algorithm>
#include <queue>

#include "absl/strings/str_cat.h"
#include "services/broker/held_records.h"
#include "services/broker/lookup_keys.h"
#include "services/broker/message_bodies.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

// What one slice looks at, so that it holds a reader thread for some milliseconds at most.
constexpr size_t kSliceEntries = 8192;
constexpr size_t kReadAhead = 64;         // entries of one queue at a time
constexpr int64_t kMaxLooked = 500'000;   // entries of one call with a filter that takes few; then the caller asks for more
// How far the clock of a client may be off, or its message late, for the short way.
constexpr absl::Duration kClockError = absl::Hours(1);

absl::Status Annotated(const absl::Status& status) {
  return absl::IsDataLoss(status) ? errors::InternalServerError(absl::StrCat("the index is damaged: ", status.message())) : status;
}

MessageStage StageOf(const HeldState& state) {
  if (state.stage == HeldStage::kWaiting) return state.kind == HeldKind::kTimed ? MessageStage::kTimer : MessageStage::kHalf;
  if (state.stage == HeldStage::kReleased) return MessageStage::kInQueue;
  switch (state.reason) {
    case DropReason::kRecalled: return MessageStage::kRecalled;
    case DropReason::kRolledBack: return MessageStage::kRolledBack;
    case DropReason::kTopicDeleted: return MessageStage::kTopicDeleted;
  }
  return MessageStage::kRecalled;
}

}  // namespace

Lookups::Search* Lookups::Get(uint64_t id) {
  const auto it = running_.find(id);
  return it == running_.end() ? nullptr : it->second.get();
}

void Lookups::Find(FindCommand command, Done<FindOutcome> done) {
  const Topic* topic = context_.state.FindTopic(command.topic);
  if (topic == nullptr || topic->deleting) return std::move(done)(errors::TopicNotFound(absl::StrCat("topic '", command.topic, "' does not exist")));
  if (running_.size() >= kMaxRunning) {
    return std::move(done)(errors::TooManyRequests(absl::StrCat(running_.size(), " look-ups run on shard '", context_.options.name, "', which is the limit")));
  }
  const uint64_t id = ++last_;
  auto search = std::make_shared<Search>();
  command.max_messages = std::clamp(command.max_messages, 1, kMaxMessages);
  search->topic_id = topic->definition.topic_id;
  search->by_time = command.message_id.empty() && command.key.empty();
  if (search->by_time) {
    for (const Queue* queue : topic->queues) search->queues.emplace_back(queue->id, queue->counters);
  } else {
    const bool by_id = !command.message_id.empty();
    search->query.hash = LookupHash(by_id ? LookupKind::kMessageId : LookupKind::kKey, search->topic_id, by_id ? command.message_id : command.key);
    search->query.max_hits = static_cast<size_t>(command.max_messages);
    if (const std::optional<absl::Time> made = by_id ? TimeOfMessageId(command.message_id) : std::nullopt) {
      search->near_its_time = true;
      search->query.from_ms = absl::ToUnixMillis(*made - kClockError);
      search->query.to_ms = absl::ToUnixMillis(*made + kClockError);
    }
  }
  search->command = std::move(command);
  search->done = std::move(done);
  running_[id] = std::move(search);
  ReadSlice(id);
}

// ---- the index, on a reader thread

absl::StatusOr<Lookups::Slice> Lookups::FindByHash(const index::KvStore& kv, const Search& search) {
  FULMAR_ASSIGN_OR_RETURN(index::KeyIndex::Page page, index::KeyIndex::Find(kv, search.query));
  Slice slice;
  slice.finished = page.finished;
  slice.below = page.below;
  for (const index::KeyIndex::Hit& hit : page.hits) slice.candidates.push_back({.queue = {}, .entry = {}, .hit = hit});
  return slice;
}

// Merges the queues by store time.
absl::StatusOr<Lookups::Slice> Lookups::ListByTime(const index::KvStore& kv, const Search& search, const std::string& shard) {
  const FindCommand& command = search.command;
  const index::QueueIndex index(kv);
  struct Stream {
    index::QueueId queue;
    int64_t next = 0, end = 0;
    std::vector<index::QueueEntry> ahead;
    size_t at = 0;
  };
  std::vector<Stream> streams;
  const int64_t to_ms = command.to == absl::InfiniteFuture() ? std::numeric_limits<int64_t>::max() : absl::ToUnixMillis(command.to);
  absl::Time from = command.from;
  if (command.after) from = std::max(from, absl::FromUnixMillis(command.after->store_time_ms));
  const auto behind = [&](const index::QueueEntry& entry, int32_t queue) {
    return !command.after || FindPlace{entry.store_time_ms, shard, queue, entry.offset} > *command.after;
  };
  // The first entry of each stream; streams at their end are dropped.
  const auto refill = [&](Stream& stream) -> absl::Status {
    while (stream.at == stream.ahead.size() && stream.next < stream.end) {
      FULMAR_ASSIGN_OR_RETURN(stream.ahead, index.Read(stream.queue, stream.next, stream.end, kReadAhead));
      stream.at = 0;
      if (stream.ahead.empty()) {
        stream.next = stream.end;
        break;
      }
      stream.next = stream.ahead.back().offset + 1;
      while (stream.at < stream.ahead.size() && !behind(stream.ahead[stream.at], stream.queue.queue)) ++stream.at;
    }
    return absl::OkStatus();
  };
  for (const auto& [queue, counters] : search.queues) {
    FULMAR_ASSIGN_OR_RETURN(const int64_t first, index.FindByTime(queue, counters, from));
    Stream& stream = streams.emplace_back(Stream{.queue = queue, .next = first, .end = counters.next, .ahead = {}});
    FULMAR_RETURN_IF_ERROR(refill(stream));
  }
  using Head = std::tuple<int64_t, int32_t, size_t>;  // store time, queue, stream
  std::priority_queue<Head, std::vector<Head>, std::greater<>> heads;
  const auto push = [&](size_t i) {
    const Stream& stream = streams[i];
    if (stream.at < stream.ahead.size() && stream.ahead[stream.at].store_time_ms < to_ms) {
      heads.emplace(stream.ahead[stream.at].store_time_ms, stream.queue.queue, i);
    }
  };
  for (size_t i = 0; i < streams.size(); ++i) push(i);

  Slice slice;
  const size_t wanted = static_cast<size_t>(command.max_messages) - search.outcome.messages.size();
  while (!heads.empty() && slice.candidates.size() < wanted && slice.looked < static_cast<int64_t>(kSliceEntries)) {
    const size_t i = std::get<2>(heads.top());
    heads.pop();
    Stream& stream = streams[i];
    const index::QueueEntry& entry = stream.ahead[stream.at];
    ++slice.looked;
    slice.reached = FindPlace{entry.store_time_ms, shard, stream.queue.queue, entry.offset};
    if (command.filter.takes_all() || command.filter.MayMatch(entry.tag_hash)) slice.candidates.push_back({.queue = stream.queue, .entry = entry, .hit = {}});
    ++stream.at;
    FULMAR_RETURN_IF_ERROR(refill(stream));
    push(i);
  }
  slice.finished = heads.empty();
  return slice;
}

void Lookups::ReadSlice(uint64_t id) {
  auto back = context_.OnShard<absl::StatusOr<Slice>>([this, id](absl::StatusOr<Slice> slice) { OnSlice(id, std::move(slice)); });
  // The shard leaves the search alone until the slice is back, but for dropping it.
  context_.env.reader.Post([&kv = std::as_const(context_.env.kv), search = running_.at(id), shard = context_.options.name, back = std::move(back)]() mutable {
    std::move(back)(search->by_time ? ListByTime(kv, *search, shard) : FindByHash(kv, *search));
  });
}

// ---- records, on the shard

void Lookups::OnSlice(uint64_t id, absl::StatusOr<Slice> slice) {
  Search* search = Get(id);
  if (search == nullptr) return;
  if (!slice.ok()) return Finish(id, slice.status(), false);
  search->slice = *std::move(slice);
  search->next = 0;
  search->looked += search->slice.looked;
  Next(id);
}

void Lookups::Next(uint64_t id) {
  Search* search = Get(id);
  if (search == nullptr) return;
  const FindCommand& command = search->command;
  const bool full = search->outcome.messages.size() >= static_cast<size_t>(command.max_messages) || search->bytes >= command.max_bytes;
  const bool drained = search->next >= search->slice.candidates.size();
  if (full) return Finish(id, absl::OkStatus(), !drained || !search->slice.finished);
  if (!drained) {
    const Candidate& candidate = search->slice.candidates[search->next++];
    if (!search->by_time) return ReadHit(id, candidate.hit);
    return ReadMessage(context_, candidate.queue, candidate.entry, [this, id, candidate](absl::StatusOr<common::SharedBytes> record) {
      Search* still = Get(id);
      if (still == nullptr) return;
      still->outcome.reached = FindPlace{candidate.entry.store_time_ms, context_.options.name, candidate.queue.queue, candidate.entry.offset};
      if (!record.ok()) return Next(id);  // removed by retention meanwhile, or damaged: the others are of use all the same
      Take(id, {.record = *std::move(record),
                .queue = candidate.queue.queue,
                .offset = candidate.entry.offset,
                .store_time_ms = candidate.entry.store_time_ms,
                .due_ms = std::nullopt,
                .held = candidate.entry.held});
    });
  }
  if (search->slice.reached) search->outcome.reached = search->slice.reached;
  if (!search->slice.finished) {
    if (search->by_time) {
      if (search->looked >= kMaxLooked) return Finish(id, absl::OkStatus(), true);
      search->command.after = search->slice.reached;
    } else {
      search->query.below = search->slice.below;
    }
    return ReadSlice(id);
  }
  if (search->near_its_time && search->outcome.messages.empty()) {  // the id lies about its time, or the clock did
    search->near_its_time = false;
    search->query = {.hash = search->query.hash, .max_hits = search->query.max_hits};
    return ReadSlice(id);
  }
  Finish(id, absl::OkStatus(), false);
}

void Lookups::ReadHit(uint64_t id, index::KeyIndex::Hit hit) {
  context_.log->Read(hit.position, hit.length, [this, id, hit](absl::StatusOr<common::SharedBytes> body) {
    if (Get(id) == nullptr) return;
    if (!body.ok()) return Next(id);
    if (hit.tagged) {
      const absl::StatusOr<HeldMessageRecord> held = DecodeHeldMessage(body->view());
      if (!held.ok()) return Next(id);
      const auto offset = static_cast<size_t>(held->message.data() - body->view().data());
      return OnHeldBody(id, {.record = body->Sub(offset, held->message.size()), .due_ms = std::nullopt, .held = held->id == 0 ? hit.position.value : held->id});
    }
    const absl::StatusOr<MessageView> message = ParseMessageRecord(body->view());
    if (!message.ok()) return Next(id);
    Take(id, {.record = *std::move(body), .queue = message->queue, .offset = message->offset, .store_time_ms = message->store_time_ms, .due_ms = std::nullopt});
  });
}

void Lookups::OnHeldBody(uint64_t id, FoundMessage found) {
  Search& search = *Get(id);
  const std::optional<HeldState> state = context_.state.held().Find(found.held);
  if (!state || std::find(search.held.begin(), search.held.end(), found.held) != search.held.end()) return Next(id);
  search.held.push_back(found.held);
  found.stage = StageOf(*state);
  if (const absl::StatusOr<MessageView> message = ParseMessageRecord(found.record.view()); message.ok()) found.store_time_ms = message->store_time_ms;
  if (state->stage == HeldStage::kWaiting) found.due_ms = state->due_ms;
  if (state->stage != HeldStage::kReleased) return Take(id, std::move(found));
  static const auto kReleasedBytes = static_cast<uint32_t>(EncodeHeldReleased({}).size());
  context_.log->Read(state->end, kReleasedBytes, [this, id, found = std::move(found)](absl::StatusOr<common::SharedBytes> body) mutable {
    if (Get(id) == nullptr) return;
    if (!body.ok()) return Next(id);
    const absl::StatusOr<HeldReleased> released = DecodeHeldReleased(body->view());
    if (!released.ok()) return Next(id);
    found.queue = released->queue;
    found.offset = released->offset;
    found.store_time_ms = released->store_time_ms;
    Take(id, std::move(found));
  });
}

void Lookups::Take(uint64_t id, FoundMessage found) {
  Search& search = *Get(id);
  const FindCommand& command = search.command;
  const absl::StatusOr<MessageView> message = ParseMessageRecord(found.record.view());
  // The hash may have lied, and so does one of a topic of the same name that was deleted.
  bool takes = message.ok() && message->topic_id == search.topic_id && (command.filter.takes_all() || command.filter.Matches(*message));
  if (takes && !command.message_id.empty()) takes = message->message_id == command.message_id;
  if (takes && !command.key.empty()) takes = HasKey(*message, command.key);
  if (takes && command.message_id.empty()) {
    const absl::Time stored = absl::FromUnixMillis(found.store_time_ms);
    takes = stored >= command.from && stored < command.to;
  }
  if (takes) {
    search.bytes += found.record.size();
    search.outcome.messages.push_back(std::move(found));
  }
  Next(id);
}

void Lookups::Finish(uint64_t id, absl::Status status, bool more) {
  const auto it = running_.find(id);
  const std::shared_ptr<Search> search = std::move(it->second);
  running_.erase(it);
  if (!status.ok()) return std::move(search->done)(Annotated(status));
  search->outcome.more = more;
  std::move(search->done)(std::move(search->outcome));
}

void Lookups::TraceOf(const std::string& name, const FoundMessage& message, Done<std::vector<TraceEvent>> done) {
  const Topic* topic = context_.state.FindTopic(name);
  if (topic == nullptr) return std::move(done)(errors::TopicNotFound(absl::StrCat("topic '", name, "' does not exist")));
  if (!context_.trace.on()) return std::move(done)(errors::PreconditionFailed("no trace is kept here: broker.trace.bytes is 0"));
  if (tracing_ >= kMaxRunning) return std::move(done)(errors::TooManyRequests(absl::StrCat(tracing_, " traces are read here, which is the limit")));
  const uint32_t topic_id = topic->definition.topic_id;
  std::vector<Trace::Id> ids;
  if (message.stage == MessageStage::kInQueue) ids.push_back({{topic_id, message.queue}, message.offset});
  if (message.held != 0) ids.push_back({{topic_id, -1}, message.held});
  const absl::StatusOr<MessageView> sent = ParseMessageRecord(message.record.view());
  int64_t since_ms = message.store_time_ms;
  if (sent.ok() && message.held != 0) since_ms = std::min(since_ms, sent->store_time_ms);
  ++tracing_;
  context_.trace.Find(std::move(ids), absl::FromUnixMillis(since_ms), [this, done = std::move(done)](std::vector<TraceEvent> events) mutable {
    --tracing_;
    std::move(done)(std::move(events));
  });
}

void Lookups::EndAll(const absl::Status& why) {
  for (auto& [id, search] : std::exchange(running_, {})) std::move(search->done)(why);
}

}  // namespace fulmar::broker
