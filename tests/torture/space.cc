#include "tests/torture/space.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/torture/wire.h"

namespace fulmar::torture {
namespace {

struct Outcome {
  int code;
  std::string message;
};

Outcome SendOne(Connection& server, const std::string& topic, const std::string& body) {
  static int64_t next = 0;
  v2::SendMessageRequest request;
  v2::Message* message = request.add_messages();
  message->mutable_topic()->set_name(topic);
  message->mutable_system_properties()->set_message_id(absl::StrFormat("02%016x%014d", NowNs(), next++));
  message->mutable_system_properties()->set_message_type(v2::NORMAL);
  message->mutable_system_properties()->set_body_encoding(v2::IDENTITY);
  message->set_body(body);
  v2::SendMessageResponse response;
  grpc::ClientContext context;
  Prepare(context, "localhost@torture@space", absl::Seconds(10));
  const grpc::Status status = server->SendMessage(&context, request, &response);
  return {CodeOf(status, response.status()), status.ok() ? response.status().message() : status.error_message()};
}

}  // namespace

int Fill(const std::string& endpoint, const std::string& topic, int body_bytes, absl::Duration limit) {
  Connection server(endpoint);
  const std::string body(static_cast<size_t>(body_bytes), 'x');
  const absl::Time deadline = absl::Now() + limit;
  absl::Time refused_since = absl::InfiniteFuture();
  int64_t stored = 0;
  Outcome last{v2::OK, ""};
  while (absl::Now() < deadline && absl::Now() < refused_since + absl::Seconds(1)) {
    const Outcome outcome = SendOne(server, topic, body);
    if (outcome.code == v2::OK) {
      ++stored;
      refused_since = absl::InfiniteFuture();
      continue;
    }
    last = outcome;
    refused_since = std::min(refused_since, absl::Now());
    absl::SleepFor(absl::Milliseconds(20));
  }
  const bool full = refused_since != absl::InfiniteFuture();
  std::cout << nlohmann::json{{"stored", stored}, {"refused", full}, {"code", last.code}, {"name", v2::Code_Name(static_cast<v2::Code>(last.code))}, {"message", last.message}} << "\n";
  return full ? 0 : 1;
}

int UntilStored(const std::string& endpoint, const std::string& topic, absl::Duration limit) {
  Connection server(endpoint);
  const absl::Time begin = absl::Now();
  int attempts = 0;
  Outcome last{};
  while (absl::Now() < begin + limit) {
    ++attempts;
    last = SendOne(server, topic, "space again?");
    if (last.code == v2::OK) break;
    absl::SleepFor(absl::Milliseconds(50));
  }
  std::cout << nlohmann::json{{"seconds", absl::ToDoubleSeconds(absl::Now() - begin)}, {"attempts", attempts}, {"code", last.code}, {"message", last.message}} << "\n";
  return last.code == v2::OK ? 0 : 1;
}

}  // namespace fulmar::torture
