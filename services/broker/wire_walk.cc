#include "services/broker/wire_walk.h"

namespace fulmar::broker::wire {
namespace {

// One field of text, of a number, of a sub-message. A field of another wire type than declared counts as unknown, as in protobuf.
void Text(Reader& in, std::string_view& out) {
  if (!in.Is(WireType::kBytes)) return;
  if (!IsUtf8(in.bytes())) return in.Fail();
  out = in.bytes();
}
void Text(Reader& in, std::optional<std::string_view>& out) {
  if (in.Is(WireType::kBytes)) Text(in, out.emplace());
}
void Text(Reader& in, std::vector<std::string_view>& out) {
  if (in.Is(WireType::kBytes)) Text(in, out.emplace_back());
}
void Number(Reader& in, int32_t& out) {
  if (in.Is(WireType::kVarint)) out = static_cast<int32_t>(in.varint());
}
void Number(Reader& in, int64_t& out) {
  if (in.Is(WireType::kVarint)) out = static_cast<int64_t>(in.varint());
}
void Number(Reader& in, std::optional<int32_t>& out) {
  if (in.Is(WireType::kVarint)) Number(in, out.emplace());
}
template <class Out, class Parse>
void Sub(Reader& in, Out& out, Parse parse) {
  if (in.Is(WireType::kBytes) && !parse(in.bytes(), out)) in.Fail();
}
template <class Out, class Parse>
void Sub(Reader& in, std::optional<Out>& out, Parse parse) {  // parts of one sub-message merge
  if (!in.Is(WireType::kBytes)) return;
  if (!out.has_value()) out.emplace();
  Sub(in, *out, parse);
}

bool ParseResource(std::string_view bytes, ResourceView& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) Text(in, out.name_space);
    if (in.field() == 2) Text(in, out.name);
  }
  return in.ok();
}

bool ParseTime(std::string_view bytes, TimeView& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) Number(in, out.seconds);
    if (in.field() == 2) Number(in, out.nanos);
  }
  return in.ok();
}

bool ParseDigest(std::string_view bytes, DigestView& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) Number(in, out.type);
    if (in.field() == 2) Text(in, out.checksum);
  }
  return in.ok();
}

bool ParseProperty(std::string_view bytes, PropertyView& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) Text(in, out.key);
    if (in.field() == 2) Text(in, out.value);
  }
  return in.ok();
}

bool ParseSystemProperties(std::string_view bytes, MessageFields& out) {
  Reader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1: Text(in, out.tag); break;
      case 2: Text(in, out.keys); break;
      case 3: Text(in, out.message_id); break;
      case 4: Sub(in, out.digest, ParseDigest); break;
      case 5: Number(in, out.encoding); break;
      case 6: Number(in, out.type); break;
      case 7: Sub(in, out.born, ParseTime); break;
      case 8: Text(in, out.born_host); break;
      case 11: Sub(in, out.delivery_time, ParseTime); break;
      case 17: Text(in, out.message_group); break;
      case 18: Text(in, out.trace_context); break;
      case 19: Sub(in, out.recovery, ParseTime); break;
      case 21: Text(in, out.lite_topic); break;
      case 22: Number(in, out.priority); break;
      default: break;
    }
  }
  return in.ok();
}

bool ParseMessage(std::string_view bytes, MessageFields& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (!in.Is(WireType::kBytes)) continue;
    switch (in.field()) {
      case 1: Sub(in, out.topic, ParseResource); break;
      case 2: Sub(in, out.properties.emplace_back(), ParseProperty); break;
      case 3: Sub(in, out, ParseSystemProperties); break;
      case 4: out.body = in.bytes(); break;
      default: break;
    }
  }
  return in.ok();
}

bool ParseFilter(std::string_view bytes, ReceiveRequest& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) Number(in, out.filter_type);
    if (in.field() == 2) Text(in, out.filter);
  }
  return in.ok();
}

bool ParseQueue(std::string_view bytes, ReceiveRequest& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) Sub(in, out.topic, ParseResource);
    if (in.field() == 2) Number(in, out.queue);
  }
  return in.ok();
}

bool ParseAckEntry(std::string_view bytes, AckEntryView& out) {
  Reader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) Text(in, out.message_id);
    if (in.field() == 2) Text(in, out.receipt_handle);
  }
  return in.ok();
}

}  // namespace

bool ParseSendRequest(std::string_view bytes, SendRequest& request) {
  Reader in(bytes);
  while (in.Next())
    if (in.field() == 1 && in.Is(WireType::kBytes)) Sub(in, request.messages.emplace_back(), ParseMessage);
  return in.ok();
}

bool ParseReceiveRequest(std::string_view bytes, ReceiveRequest& request) {
  Reader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1: Sub(in, request.group, ParseResource); break;
      case 2: Sub(in, request, ParseQueue); break;
      case 3: Sub(in, request, ParseFilter); break;
      case 4: Number(in, request.batch_size); break;
      case 5: Sub(in, request.invisible_duration, ParseTime); break;
      case 6: if (in.Is(WireType::kVarint)) request.auto_renew = in.varint() != 0; break;
      case 7: Sub(in, request.long_polling_timeout, ParseTime); break;
      case 8: Text(in, request.attempt_id); break;
      default: break;
    }
  }
  return in.ok();
}

bool ParseAckRequest(std::string_view bytes, AckRequest& request) {
  Reader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1: Sub(in, request.group, ParseResource); break;
      case 2: Sub(in, request.topic, ParseResource); break;
      case 3: if (in.Is(WireType::kBytes)) Sub(in, request.entries.emplace_back(), ParseAckEntry); break;
      default: break;
    }
  }
  return in.ok();
}

}  // namespace fulmar::broker::wire
