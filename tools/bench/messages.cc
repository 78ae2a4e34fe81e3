#include "tools/bench/messages.h"

#include <grpcpp/support/slice.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace fulmar::bench {
namespace {

// Ids look as those of the official clients: version 01, then hexadecimal digits.
constexpr size_t kIdBytes = 34;

void SetDuration(absl::Duration value, google::protobuf::Duration* out) {
  out->set_seconds(absl::ToInt64Seconds(value));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(value % absl::Seconds(1))));
}

// Text that compresses badly, as bodies of real systems do.
std::string Filler(size_t size) {
  std::string text(size, '.');
  uint32_t state = 12345;
  for (char& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>('a' + (state >> 24) % 26);
  }
  return text;
}

// Ids and stamps of the template: found again in its bytes, since nothing else has capitals.
std::string IdMark(int i) { return absl::StrFormat("ID%032d", i); }
std::string StampMark(int i) { return absl::StrFormat("STAMP%011d", i); }

}  // namespace

SendTemplate::SendTemplate(const std::string& topic, int messages, int body_bytes)
    : run_(static_cast<uint64_t>(absl::ToUnixMicros(absl::Now()))) {
  v2::SendMessageRequest request;
  const std::string filler = Filler(static_cast<size_t>(std::max(body_bytes - kStampBytes, 0)));
  for (int i = 0; i < messages; ++i) {
    v2::Message* message = request.add_messages();
    message->mutable_topic()->set_name(topic);
    v2::SystemProperties* system = message->mutable_system_properties();
    system->set_message_id(IdMark(i));
    system->set_message_type(v2::NORMAL);
    system->set_body_encoding(v2::IDENTITY);
    system->mutable_born_timestamp()->set_seconds(absl::ToUnixSeconds(absl::Now()));
    system->set_born_host("localhost");
    message->set_body(StampMark(i) + filler);
  }
  bytes_ = request.SerializeAsString();
  for (int i = 0; i < messages; ++i) {
    id_places_.push_back(bytes_.find(IdMark(i)));
    stamp_places_.push_back(bytes_.find(StampMark(i)));
  }
}

grpc::ByteBuffer SendTemplate::Next(absl::Duration stamp) {
  const std::string stamp_text = absl::StrFormat("%016x", absl::ToInt64Nanoseconds(stamp));
  for (size_t i = 0; i < id_places_.size(); ++i) {
    const std::string id = absl::StrFormat("01%016X%016X", run_, next_id_++);
    std::copy_n(id.data(), kIdBytes, bytes_.data() + id_places_[i]);
    std::copy_n(stamp_text.data(), kStampBytes, bytes_.data() + stamp_places_[i]);
  }
  const grpc::Slice slice(bytes_.data(), bytes_.size());
  return grpc::ByteBuffer(&slice, 1);
}

std::optional<absl::Duration> StampOf(std::string_view body) {
  int64_t nanoseconds = 0;
  if (body.size() < kStampBytes || !absl::SimpleHexAtoi(body.substr(0, kStampBytes), &nanoseconds)) return std::nullopt;
  return absl::Nanoseconds(nanoseconds);
}

v2::ReceiveMessageRequest ReceiveRequest(const std::string& topic, const std::string& group, int batch, absl::Duration wait,
                                         absl::Duration invisible) {
  v2::ReceiveMessageRequest request;
  request.mutable_group()->set_name(group);
  request.mutable_message_queue()->mutable_topic()->set_name(topic);
  request.mutable_message_queue()->set_id(0);
  request.mutable_filter_expression()->set_type(v2::TAG);
  request.mutable_filter_expression()->set_expression("*");
  request.set_batch_size(batch);
  SetDuration(invisible, request.mutable_invisible_duration());
  SetDuration(wait, request.mutable_long_polling_timeout());
  return request;
}

}  // namespace fulmar::bench
