#include "tests/torture/producer.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace fulmar::torture {
namespace {

constexpr double kBatchChance = 0.1;
constexpr int kMaxBatch = 8;
constexpr double kLargeChance = 0.01;
constexpr double kGiveUpChance = 0.2;
constexpr absl::Duration kTimeout = absl::Seconds(5);

}  // namespace

v2::SendMessageRequest Producer::NextRequest() {
  v2::SendMessageRequest request;
  const int messages = Chance() < kBatchChance ? 2 + static_cast<int>(random_() % (kMaxBatch - 1)) : 1;
  for (int i = 0; i < messages; ++i) {
    v2::Message* message = request.add_messages();
    message->mutable_topic()->set_name(options_.topic);
    v2::SystemProperties* system = message->mutable_system_properties();
    system->set_message_id(absl::StrFormat("01%010d%020d", options_.number, next_++));
    system->set_message_type(v2::NORMAL);
    system->set_body_encoding(v2::IDENTITY);
    system->set_born_host("localhost");
    if (Chance() < 0.5) system->set_tag(absl::StrCat("tag", random_() % 5));
    if (Chance() < 0.3) system->add_keys(absl::StrCat("key", random_()));
    if (Chance() < 0.3) (*message->mutable_user_properties())["number"] = absl::StrCat(random_());
    // Sizes on every side of a page, a sector, a segment's end.
    const double exponent = Chance() < kLargeChance ? 13 + 5 * Chance() : 12 * Chance();
    std::string body(static_cast<size_t>(std::exp2(exponent)), 0);
    for (char& c : body) c = static_cast<char>(random_());
    message->set_body(std::move(body));
  }
  return request;
}

bool Producer::Send(const v2::SendMessageRequest& request, const std::vector<uint32_t>& sums) {
  grpc::ClientContext context;
  Prepare(context, absl::StrCat("localhost@torture@producer@", options_.number), kTimeout);
  v2::SendMessageResponse response;
  const int64_t start = NowNs();
  const grpc::Status status = server_->SendMessage(&context, request, &response);
  bool stored = true;
  for (int i = 0; i < request.messages_size(); ++i) {
    const std::string& id = request.messages(i).system_properties().message_id();
    const bool has_entry = status.ok() && i < response.entries_size();
    const int code = has_entry ? response.entries(i).status().code() : CodeOf(status, response.status());
    history_.Sent({.start_ns = start,
                   .topic = options_.topic,
                   .id = id,
                   .sum = sums[static_cast<size_t>(i)],
                   .code = code,
                   .offset = has_entry ? response.entries(i).offset() : -1});
    if (code == v2::OK) history_.Expect(id, options_.groups);
    stored &= code == v2::OK;
  }
  return stored;
}

void Producer::Run(const std::atomic<bool>& stop) {
  std::exponential_distribution<> pause(1 / options_.pause_ms);
  while (!stop) {
    const v2::SendMessageRequest request = NextRequest();
    std::vector<uint32_t> sums;
    for (const v2::Message& message : request.messages()) sums.push_back(SumOf(message));
    while (!Send(request, sums)) {
      if (stop || Chance() < kGiveUpChance) break;
      server_.Recover();
    }
    absl::SleepFor(absl::Milliseconds(pause(random_)));
  }
}

}  // namespace fulmar::torture
