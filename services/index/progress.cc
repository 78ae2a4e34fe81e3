#include "services/index/progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "services/index/codec.h"

// version 2 | flags (1 = deleted, 2 = ordered) | group string | topic_id u32 | queue u32 | sequence varint | cursor varint
//   | count varint, per range:     begin - previous end (the first: - cursor) varint, end - begin varint
//   | count varint, per in flight: offset - previous offset (the first: - cursor; ordered: - 0) varint, attempt varint,
//                                  flags (1 = auto_renew, 2 = waiting_retry, 4 = acknowledged), time in µs - previous time signed varint,
//                                  given ms varint
//   | ordered only: count varint, per open: offset - previous offset varint
// Version 1 is read, too: it has no given times and nothing ordered. Differences keep a range at 2 and a message in flight at about 9 bytes: the state of every dirty queue is written often.
namespace fulmar::index {
namespace {

constexpr uint8_t kFormat = 2, kOldFormat = 1;
constexpr uint8_t kDeleted = 1, kOrdered = 2;
constexpr uint8_t kAutoRenew = 1, kWaitingRetry = 2, kAcknowledged = 4;

uint64_t Difference(int64_t value, int64_t from) { return static_cast<uint64_t>(value) - static_cast<uint64_t>(from); }
int64_t Sum(int64_t from, uint64_t difference) {
  return static_cast<int64_t>(static_cast<uint64_t>(from) + difference);
}

}  // namespace

std::string Encode(const QueueProgress& progress) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.U8(kFormat);
  writer.U8((progress.deleted ? kDeleted : 0) | (progress.ordered ? kOrdered : 0));
  writer.String(progress.group);
  writer.U32(progress.topic_id);
  writer.U32(static_cast<uint32_t>(progress.queue));
  writer.Varint(progress.sequence);
  writer.Varint(static_cast<uint64_t>(progress.cursor));

  writer.Varint(progress.acked.size());
  int64_t offset = progress.cursor;
  for (const OffsetRange& range : progress.acked) {
    writer.Varint(Difference(range.begin, offset));
    writer.Varint(Difference(range.end, range.begin));
    offset = range.end;
  }

  writer.Varint(progress.in_flight.size());
  offset = progress.ordered ? 0 : progress.cursor;
  int64_t time = 0;
  for (const InFlight& message : progress.in_flight) {
    writer.Varint(Difference(message.offset, offset));
    writer.Varint(static_cast<uint32_t>(message.attempt));
    writer.U8((message.auto_renew ? kAutoRenew : 0) | (message.waiting_retry ? kWaitingRetry : 0) |
              (message.acknowledged ? kAcknowledged : 0));
    const int64_t micros = absl::ToUnixMicros(message.invisible_until);
    writer.SignedVarint(static_cast<int64_t>(Difference(micros, time)));
    writer.Varint(static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Milliseconds(message.given))));
    offset = message.offset;
    time = micros;
  }
  if (progress.ordered) {
    writer.Varint(progress.open.size());
    offset = 0;
    for (const int64_t open : progress.open) {
      writer.Varint(Difference(open, offset));
      offset = open;
    }
  }
  return bytes;
}

size_t MaxEncodedBytes(const QueueProgress& progress) {
  constexpr size_t kVarint = 10;
  return 2 + 2 * sizeof(uint32_t) + progress.group.size() + 5 * kVarint + progress.acked.size() * 2 * kVarint +
         progress.in_flight.size() * (2 * kVarint + 5 + 1);
}

absl::StatusOr<QueueProgress> DecodeProgress(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t format = reader.U8();
  if (format != kFormat && format != kOldFormat) return absl::DataLossError("progress: unknown format");
  QueueProgress progress;
  const uint8_t flags = reader.U8();
  if ((flags & ~(kDeleted | (format == kFormat ? kOrdered : 0))) != 0) reader.Fail();
  progress.deleted = (flags & kDeleted) != 0;
  progress.ordered = (flags & kOrdered) != 0;
  progress.group = reader.String();
  progress.topic_id = reader.U32();
  progress.queue = static_cast<int32_t>(reader.U32());
  progress.sequence = reader.Varint();
  progress.cursor = static_cast<int64_t>(reader.Varint());

  const size_t ranges = reader.Count(2);
  progress.acked.reserve(ranges);
  int64_t offset = progress.cursor;
  for (size_t i = 0; i < ranges && reader.ok(); ++i) {
    const int64_t begin = Sum(offset, reader.Varint());
    offset = Sum(begin, reader.Varint());
    progress.acked.push_back({begin, offset});
  }

  const size_t in_flight = reader.Count(4);
  progress.in_flight.reserve(in_flight);
  offset = progress.ordered ? 0 : progress.cursor;
  int64_t time = 0;
  for (size_t i = 0; i < in_flight && reader.ok(); ++i) {
    offset = Sum(offset, reader.Varint());
    const uint64_t attempt = reader.Varint();
    const uint8_t message_flags = reader.U8();
    if (attempt > INT32_MAX || (message_flags & ~(kAutoRenew | kWaitingRetry | kAcknowledged)) != 0) reader.Fail();
    time = Sum(time, static_cast<uint64_t>(reader.SignedVarint()));
    const uint64_t given_ms = format == kFormat ? reader.Varint() : 0;
    if (given_ms > static_cast<uint64_t>(INT64_MAX)) reader.Fail();
    progress.in_flight.push_back({.offset = offset,
                                  .attempt = static_cast<int32_t>(attempt),
                                  .invisible_until = TimeFromMicros(time),
                                  .given = absl::Milliseconds(given_ms),
                                  .auto_renew = (message_flags & kAutoRenew) != 0,
                                  .waiting_retry = (message_flags & kWaitingRetry) != 0,
                                  .acknowledged = (message_flags & kAcknowledged) != 0});
  }
  if (progress.ordered) {
    const size_t open = reader.Count(1);
    progress.open.reserve(open);
    offset = 0;
    for (size_t i = 0; i < open && reader.ok(); ++i) {
      offset = Sum(offset, reader.Varint());
      progress.open.push_back(offset);
    }
  }
  if (absl::Status status = reader.Finish("progress"); !status.ok()) return status;
  if (absl::Status status = CheckProgress(progress); !status.ok()) return absl::DataLossError(status.message());
  return progress;
}

absl::Status CheckProgress(const QueueProgress& progress) {
  const auto bad = [&progress](std::string_view what, int64_t number) {
    return absl::InvalidArgumentError(absl::StrCat("progress of group '", progress.group, "' in topic ",
                                                   progress.topic_id, " queue ", progress.queue, ": ", what, " ",
                                                   number));
  };
  if (progress.queue < 0) return bad("queue is", progress.queue);
  if (progress.cursor < 0) return bad("cursor is", progress.cursor);
  int64_t offset = progress.cursor;
  for (const OffsetRange& range : progress.acked) {
    if (range.begin < offset) return bad("acknowledged range begins too low, at", range.begin);
    if (range.end <= range.begin) return bad("acknowledged range is empty, at", range.begin);
    offset = range.end;
  }
  if (progress.ordered && !progress.acked.empty()) return bad("ordered, but has acknowledged ranges above", progress.cursor);
  if (!progress.ordered && !progress.open.empty()) return bad("not ordered, but has an open offset", progress.open.front());
  offset = progress.ordered ? -1 : progress.cursor - 1;
  for (const InFlight& message : progress.in_flight) {
    if (message.offset <= offset) return bad("offset in flight is out of order:", message.offset);
    if (progress.ordered && message.offset >= progress.cursor) return bad("ordered, but in flight above the cursor:", message.offset);
    if (message.attempt < 0) return bad("attempt is negative at offset", message.offset);
    offset = message.offset;
  }
  offset = -1;
  for (const int64_t open : progress.open) {
    if (open <= offset || open >= progress.cursor) return bad("open offset is out of order:", open);
    offset = open;
  }
  return absl::OkStatus();
}

}  // namespace fulmar::index
