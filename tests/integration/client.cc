#include "tests/integration/client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace fulmar::integration {
namespace {

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(bool tls) {
  if (!tls) return grpc::InsecureChannelCredentials();
  grpc::experimental::TlsChannelCredentialsOptions options;  // as the official clients: no verification
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
  return grpc::experimental::TlsCredentials(options);
}

std::string NewClientId() {
  static std::atomic<int> number = 0;
  return absl::StrCat("test@", getpid(), "@", ++number, "@", absl::Hex(absl::ToUnixMicros(absl::Now())));
}

std::string Flat(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (!buffer.DumpToSingleSlice(&slice).ok()) return "";
  return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

template <class Response>
void Collect(Response& part, Received& received) {
  if (part.has_status()) received.status = part.status();
  if (part.has_message()) received.messages.push_back(std::move(*part.mutable_message()));
}

}  // namespace

Client::Client(const std::string& endpoint, Options options) : options_(std::move(options)) {
  if (options_.client_id.empty()) options_.client_id = NewClientId();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  channel_ = grpc::CreateCustomChannel(endpoint, CredentialsOf(options_.tls), arguments);
  stub_ = v2::MessagingService::NewStub(channel_);
  admin_ = admin::AdminService::NewStub(channel_);
}

std::unique_ptr<grpc::ClientContext> Client::Context(absl::Duration deadline) const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  if (!options_.without_id) context->AddMetadata("x-mq-client-id", options_.client_id);
  context->AddMetadata("x-mq-language", options_.language);
  context->AddMetadata("x-mq-client-version", "5.0.7");
  context->AddMetadata("x-mq-protocol", "v2");
  return context;
}

void Client::Check(const grpc::Status& status) { EXPECT_TRUE(status.ok()) << status.error_code() << " " << status.error_message(); }

std::string Client::Send(const v2::Message& message) {
  const v2::SendMessageResponse response = Send(OneOf(message));
  EXPECT_EQ(response.status().code(), v2::OK) << response.status().message();
  EXPECT_EQ(response.entries_size(), 1);
  return response.entries_size() == 1 ? response.entries(0).message_id() : "";
}

Received Client::Receive(const v2::ReceiveMessageRequest& request, absl::Duration deadline) {
  const absl::Time started = absl::Now();
  const auto context = Context(deadline);
  const auto reader = stub_->ReceiveMessage(context.get(), request);
  Received received;
  for (v2::ReceiveMessageResponse part; reader->Read(&part);) {
    Collect(part, received);
    if (part.has_delivery_timestamp()) received.has_delivery_time = true;
  }
  received.grpc = reader->Finish();
  received.took = absl::Now() - started;
  return received;
}

Received Client::Pull(const v2::PullMessageRequest& request, absl::Duration deadline) {
  const absl::Time started = absl::Now();
  const auto context = Context(deadline);
  const auto reader = stub_->PullMessage(context.get(), request);
  Received received;
  for (v2::PullMessageResponse part; reader->Read(&part);) {
    Collect(part, received);
    if (part.has_next_offset()) received.next_offset = part.next_offset();
  }
  received.grpc = reader->Finish();
  received.took = absl::Now() - started;
  return received;
}

v2::AckMessageResponse Client::Ack(const std::string& topic, const std::string& group, const std::vector<std::string>& handles) {
  v2::AckMessageRequest request;
  *request.mutable_topic() = Name(topic);
  *request.mutable_group() = Name(group);
  for (const std::string& handle : handles) {
    v2::AckMessageEntry* entry = request.add_entries();
    entry->set_receipt_handle(handle);
    entry->set_message_id("01");
  }
  return Call(&v2::MessagingService::Stub::AckMessage, request);
}

v2::ChangeInvisibleDurationResponse Client::Change(const std::string& topic, const std::string& group, const std::string& handle, absl::Duration invisible) {
  v2::ChangeInvisibleDurationRequest request;
  *request.mutable_topic() = Name(topic);
  *request.mutable_group() = Name(group);
  request.set_receipt_handle(handle);
  Set(request.mutable_invisible_duration(), invisible);
  return Call(&v2::MessagingService::Stub::ChangeInvisibleDuration, request);
}

RawAnswer Client::Raw(const std::string& method, const std::string& request, absl::Duration deadline) {
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  const auto context = Context(deadline);
  const auto step = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  RawAnswer answer;
  const auto call = stub.PrepareCall(context.get(), method, &queue);
  call->StartCall(nullptr);
  if (step()) {
    const grpc::Slice slice(request);
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    if (step()) {
      call->WritesDone(nullptr);
      step();
    }
    for (;;) {
      grpc::ByteBuffer part;
      call->Read(&part, nullptr);
      if (!step()) break;
      answer.messages.push_back(Flat(part));
    }
  }
  call->Finish(&answer.status, nullptr);
  step();
  queue.Shutdown();
  while (step()) {
  }
  return answer;
}

std::string NewName(const std::string& prefix) {
  static std::atomic<int> number = 0;
  return absl::StrCat(prefix, "-", ++number);
}

v2::Resource Name(const std::string& name) {
  v2::Resource resource;
  resource.set_name(name);
  return resource;
}

v2::Message NewMessage(const std::string& topic, const std::string& body) {
  static std::atomic<uint32_t> number = 0;
  v2::Message message;
  *message.mutable_topic() = Name(topic);
  message.set_body(body);
  v2::SystemProperties& system = *message.mutable_system_properties();
  system.set_message_id(absl::StrFormat("01%012X%04X%08X%08X", 0x0200AABBCCDD, getpid() & 0xffff, absl::ToUnixSeconds(absl::Now()) - 1609459200, ++number));
  system.set_message_type(v2::NORMAL);
  system.set_body_encoding(v2::IDENTITY);
  system.mutable_born_timestamp()->set_seconds(absl::ToUnixSeconds(absl::Now()));
  system.set_born_host("test");
  return message;
}

v2::SendMessageRequest OneOf(const v2::Message& message) {
  v2::SendMessageRequest request;
  *request.add_messages() = message;
  return request;
}

v2::ReceiveMessageRequest NewReceive(const std::string& topic, const std::string& group, absl::Duration await, int batch, absl::Duration invisible) {
  v2::ReceiveMessageRequest request;
  *request.mutable_group() = Name(group);
  *request.mutable_message_queue()->mutable_topic() = Name(topic);
  request.mutable_filter_expression()->set_type(v2::TAG);
  request.mutable_filter_expression()->set_expression("*");
  request.set_batch_size(batch);
  Set(request.mutable_invisible_duration(), invisible);
  Set(request.mutable_long_polling_timeout(), await);
  return request;
}

void Set(google::protobuf::Duration* out, absl::Duration value) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

int64_t StoredIn(Client& client, const std::string& topic) {
  admin::DescribeTopicRequest request;
  request.set_name(topic);
  admin::DescribeTopicResponse response;
  const grpc::Status status = client.admin().DescribeTopic(client.Context().get(), request, &response);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) return -1;
  EXPECT_TRUE(status.ok()) << status.error_message();
  int64_t stored = 0;
  for (const admin::QueueState& queue : response.queues()) stored += queue.next_offset();
  return stored;
}

void CreateTopic(Client& client, const std::string& topic, admin::TopicType type, int queues) {
  admin::CreateTopicRequest request;
  request.mutable_topic()->set_name(topic);
  request.mutable_topic()->set_type(type);
  request.mutable_topic()->set_queues(queues);
  admin::CreateTopicResponse response;
  const grpc::Status status = client.admin().CreateTopic(client.Context().get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
}

}  // namespace fulmar::integration
