#include "services/broker/held_messages.h"

#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "services/common/log.h"
#include "services/common/status.h"
#include "services/index/codec.h"

namespace fulmar::broker {
namespace {

using index::ByteReader;
using index::ByteWriter;

constexpr std::string_view kCountsKey = "wn";
constexpr size_t kDueKeyBytes = 2 + 8 + 8;
constexpr size_t kPositionKeyBytes = 2 + 8;

std::string Key(char table, int64_t number) {
  std::string key = {'w', table};
  index::AppendBigEndian64(key, static_cast<uint64_t>(number));
  return key;
}
std::string StateKey(int64_t id) { return Key('i', id); }
std::string BodyKey(LogPosition position) { return Key('b', position.value); }
std::string EndKey(LogPosition position) { return Key('d', position.value); }

std::string DueKey(HeldLine line, HeldDue due) {
  std::string key = Key(static_cast<char>(line), due.due_ms);
  index::AppendBigEndian64(key, static_cast<uint64_t>(due.id));
  return key;
}

std::string EncodeId(int64_t id) {
  std::string bytes;
  ByteWriter(bytes).I64(id);
  return bytes;
}
int64_t DecodeId(std::string_view bytes) {
  ByteReader reader(bytes);
  return reader.I64();
}

std::string EncodeState(const HeldState& state) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.U8(static_cast<uint8_t>(state.stage));
  writer.U8(static_cast<uint8_t>(state.kind));
  writer.U8(state.stage == HeldStage::kDropped ? static_cast<uint8_t>(state.reason) : state.parked ? 1 : 0);
  writer.U32(state.topic_id);
  switch (state.stage) {
    case HeldStage::kWaiting:
      writer.U32(state.checks);
      writer.I64(state.due_ms);
      writer.I64(state.body.value);
      writer.U32(state.body_bytes);
      writer.U32(state.tag_hash);
      break;
    case HeldStage::kReleased:
      writer.I64(state.end.value);
      writer.I64(state.body.value);
      writer.U32(state.body_bytes);
      break;
    case HeldStage::kDropped: writer.I64(state.end.value); break;
  }
  return bytes;
}

absl::StatusOr<HeldState> DecodeState(std::string_view bytes) {
  ByteReader reader(bytes);
  HeldState state;
  state.stage = static_cast<HeldStage>(reader.U8());
  state.kind = static_cast<HeldKind>(reader.U8());
  const uint8_t detail = reader.U8();
  state.topic_id = reader.U32();
  switch (state.stage) {
    case HeldStage::kWaiting:
      state.parked = detail != 0;
      state.checks = reader.U32();
      state.due_ms = reader.I64();
      state.body.value = reader.I64();
      state.body_bytes = reader.U32();
      state.tag_hash = reader.U32();
      break;
    case HeldStage::kReleased:
      state.end.value = reader.I64();
      state.body.value = reader.I64();
      state.body_bytes = reader.U32();
      break;
    case HeldStage::kDropped:
      state.reason = static_cast<DropReason>(detail);
      state.end.value = reader.I64();
      break;
    default: reader.Fail();
  }
  if (absl::Status status = reader.Finish("held message"); !status.ok()) return status;
  return state;
}

}  // namespace

HeldLine HeldMessages::LineOf(const HeldState& state) {
  if (state.kind == HeldKind::kTimed) return HeldLine::kTimers;
  return state.parked ? HeldLine::kParked : HeldLine::kHalves;
}

absl::Status HeldMessages::Load() {
  counts_ = {};
  counts_changed_ = false;
  const std::optional<std::string> bytes = kv_.Get(kCountsKey);
  if (!bytes) return absl::OkStatus();
  ByteReader reader(*bytes);
  counts_.timers = reader.I64();
  counts_.halves = reader.I64();
  counts_.bytes = reader.I64();
  return reader.Finish("counts of held messages");
}

void HeldMessages::Finish(index::KvBatch& batch) {
  if (!counts_changed_) return;
  counts_changed_ = false;
  // No row when nothing waits, as in an index that never saw one.
  if (counts_ == HeldCounts()) return batch.Delete(kCountsKey);
  std::string bytes;
  ByteWriter writer(bytes);
  writer.I64(counts_.timers);
  writer.I64(counts_.halves);
  writer.I64(counts_.bytes);
  batch.Put(kCountsKey, bytes);
}

std::optional<HeldState> HeldMessages::Find(int64_t id) const {
  const std::optional<std::string> bytes = kv_.Get(StateKey(id));
  if (!bytes) return std::nullopt;
  absl::StatusOr<HeldState> state = DecodeState(*bytes);
  if (!state.ok()) {
    damage_.Update(Annotate(state.status(), absl::StrCat("held message ", id)));
    return std::nullopt;
  }
  return *state;
}

void HeldMessages::Disprove(int64_t id, std::string_view how) {
  damage_.Update(absl::DataLossError(absl::StrCat("held message ", id, " is ", how, " behind its end")));
}

void HeldMessages::Put(int64_t id, const HeldState& state, index::KvBatch& batch) const { batch.Put(StateKey(id), EncodeState(state)); }

void HeldMessages::List(int64_t id, const HeldState& state, index::KvBatch& batch) {
  batch.Put(DueKey(LineOf(state), {state.due_ms, id}), "");
  ++(state.kind == HeldKind::kTimed ? counts_.timers : counts_.halves);
  counts_.bytes += state.body_bytes;
  counts_changed_ = true;
}

void HeldMessages::Unlist(int64_t id, const HeldState& state, index::KvBatch& batch) {
  batch.Delete(DueKey(LineOf(state), {state.due_ms, id}));
  --(state.kind == HeldKind::kTimed ? counts_.timers : counts_.halves);
  counts_.bytes -= state.body_bytes;
  counts_changed_ = true;
}

void HeldMessages::ApplyMessage(LogPosition position, uint32_t body_bytes, const HeldMessageRecord& record, uint32_t topic_id, uint32_t tag_hash,
                                index::KvBatch& batch) {
  const int64_t id = record.id == 0 ? position.value : record.id;
  std::optional<HeldState> known;
  if (record.id != 0) known = Find(id);
  if (record.released) {
    // The record that released it is gone already, or will be before this copy: nobody can ask for the body any more.
    if (!known || known->stage != HeldStage::kReleased) return;
    if (known->body.value != 0) batch.Delete(BodyKey(known->body));
    known->body = position;
    known->body_bytes = body_bytes;
    batch.Put(BodyKey(position), EncodeId(id));
    return Put(id, *known, batch);
  }
  if (known && known->stage != HeldStage::kWaiting) return Disprove(id, "carried forward");
  if (known) {
    Unlist(id, *known, batch);
    batch.Delete(BodyKey(known->body));
  }
  HeldState state;
  state.kind = record.kind;
  state.parked = record.parked;
  state.checks = record.checks;
  state.due_ms = record.due_ms;
  state.body = position;
  state.body_bytes = body_bytes;
  state.topic_id = topic_id;
  state.tag_hash = tag_hash;
  List(id, state, batch);
  batch.Put(BodyKey(position), EncodeId(id));
  Put(id, state, batch);
}

void HeldMessages::ApplyReleased(LogPosition position, const HeldReleased& released, index::KvBatch& batch) {
  std::optional<HeldState> known = Find(released.id);
  if (known && known->stage != HeldStage::kWaiting) return Disprove(released.id, "released");
  HeldState state;
  state.stage = HeldStage::kReleased;
  state.kind = released.kind;
  state.topic_id = released.topic_id;
  state.end = position;
  if (known) {  // else its body comes later, carried forward
    Unlist(released.id, *known, batch);
    state.body = known->body;
    state.body_bytes = known->body_bytes;
  }
  batch.Put(EndKey(position), EncodeId(released.id));
  Put(released.id, state, batch);
}

void HeldMessages::ApplyDropped(LogPosition position, const HeldDropped& dropped, index::KvBatch& batch) {
  const std::optional<HeldState> known = Find(dropped.id);
  if (known && known->stage != HeldStage::kWaiting) return Disprove(dropped.id, "dropped");
  if (known) {
    Unlist(dropped.id, *known, batch);
    batch.Delete(BodyKey(known->body));
  }
  HeldState state;
  state.stage = HeldStage::kDropped;
  state.kind = dropped.kind;
  state.topic_id = dropped.topic_id;
  state.reason = dropped.reason;
  state.end = position;
  batch.Put(EndKey(position), EncodeId(dropped.id));
  Put(dropped.id, state, batch);
}

void HeldMessages::ApplyUpdated(const HeldUpdated& updated, index::KvBatch& batch) {
  std::optional<HeldState> known = Find(updated.id);
  if (!known) return;  // in a rebuild: its body is carried forward behind this, and says the same
  if (known->stage != HeldStage::kWaiting) return Disprove(updated.id, "checked");
  Unlist(updated.id, *known, batch);
  known->parked = updated.parked;
  known->checks = updated.checks;
  known->due_ms = updated.due_ms;
  List(updated.id, *known, batch);
  Put(updated.id, *known, batch);
}

void HeldMessages::Trim(LogPosition begin, index::KvBatch& batch) {
  const auto ends = kv_.Scan(EndKey({0}), EndKey(begin));
  for (const auto& it = ends; it->Valid(); it->Next()) {
    const int64_t id = DecodeId(it->value());
    if (const std::optional<HeldState> state = Find(id); state && state->body.value != 0) batch.Delete(BodyKey(state->body));
    batch.Delete(StateKey(id));
    batch.Delete(it->key());
  }
  // Bodies of the rest: what retention did not carry, because nobody can ask for it.
  const auto bodies = kv_.Scan(BodyKey({0}), BodyKey(begin));
  for (const auto& it = bodies; it->Valid(); it->Next()) {
    const int64_t id = DecodeId(it->value());
    std::optional<HeldState> state = Find(id);
    batch.Delete(it->key());
    if (!state || (state->stage != HeldStage::kWaiting && state->end < begin)) continue;
    if (state->stage == HeldStage::kWaiting) {
      FULMAR_LOG(kError, "held_message_lost", {{"id", id}, {"body", state->body.value}, {"begin", begin.value}});
      Unlist(id, *state, batch);
      batch.Delete(StateKey(id));
      continue;
    }
    state->body = {};
    state->body_bytes = 0;
    Put(id, *state, batch);
  }
  damage_.Update(ends->status());
  damage_.Update(bodies->status());
  Finish(batch);
}

std::vector<HeldDue> HeldMessages::Read(HeldLine line, HeldDue after, size_t max) const {
  std::vector<HeldDue> due;
  const std::string end = {'w', static_cast<char>(static_cast<char>(line) + 1)};
  const auto it = kv_.Scan(DueKey(line, {after.due_ms, after.id + 1}), end);
  for (; due.size() < max && it->Valid(); it->Next()) {
    const std::string_view key = it->key();
    if (key.size() != kDueKeyBytes) continue;
    due.push_back({static_cast<int64_t>(index::ReadBigEndian64(key.substr(2))), static_cast<int64_t>(index::ReadBigEndian64(key.substr(10)))});
  }
  damage_.Update(it->status());
  return due;
}

std::vector<HeldMessages::BodyAt> HeldMessages::Bodies(LogPosition from, LogPosition to, size_t max) const {
  std::vector<BodyAt> bodies;
  const auto it = kv_.Scan(BodyKey(from), BodyKey(to));
  for (; bodies.size() < max && it->Valid(); it->Next()) {
    if (it->key().size() != kPositionKeyBytes) continue;
    bodies.push_back({{static_cast<int64_t>(index::ReadBigEndian64(it->key().substr(2)))}, DecodeId(it->value())});
  }
  damage_.Update(it->status());
  return bodies;
}

}  // namespace fulmar::broker
