#include "tests/torture/wire.h"

#include <time.h>
#include <zlib.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace fulmar::torture {

Connection::Connection(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  arguments.SetMaxReceiveMessageSize(-1);
  channel_ = grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
  stub_ = v2::MessagingService::NewStub(channel_);
}

void Connection::Recover() {
  absl::SleepFor(absl::Milliseconds(20));
  channel_->WaitForConnected(absl::ToChronoTime(absl::Now() + absl::Milliseconds(500)));
}

void Prepare(grpc::ClientContext& context, const std::string& client_id, absl::Duration timeout) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  context.AddMetadata("x-mq-client-id", client_id);
  context.AddMetadata("x-mq-language", "CPP");
}

int64_t NowNs() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

uint32_t SumOf(const v2::Message& message) {
  uLong sum = crc32(0, nullptr, 0);
  const auto add = [&sum](const std::string& text) {
    const std::string length = absl::StrCat(text.size(), ":");
    sum = crc32(sum, reinterpret_cast<const Bytef*>(length.data()), static_cast<uInt>(length.size()));
    sum = crc32(sum, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size()));
  };
  add(message.body());
  add(message.system_properties().tag());
  for (const std::string& key : message.system_properties().keys()) add(key);
  const std::map<std::string, std::string> sorted(message.user_properties().begin(), message.user_properties().end());
  for (const auto& [name, value] : sorted) {
    add(name);
    add(value);
  }
  return static_cast<uint32_t>(sum);
}

int CodeOf(const grpc::Status& status) { return status.ok() ? 0 : -static_cast<int>(status.error_code()); }

int CodeOf(const grpc::Status& status, const v2::Status& answer) { return status.ok() ? static_cast<int>(answer.code()) : CodeOf(status); }

void SetDuration(absl::Duration value, google::protobuf::Duration* out) {
  out->set_seconds(absl::ToInt64Seconds(value));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(value % absl::Seconds(1))));
}

}  // namespace fulmar::torture
