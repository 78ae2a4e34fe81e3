// The load of the torture test. It lives on while the server is killed and started again; `run` beside it is the driver.
//
//   fulmar-torture workload ENDPOINT HISTORY SEED SYNC_TOPIC ASYNC_TOPIC STRICT_GROUP GROUP
//     Sends and consumes until the line "drain" on standard input; then stops sending, waits until all is consumed and quiet, and
//     prints one JSON object. The strict group receives by one stream at a time, so that its order can be judged over restarts.
//   fulmar-torture fill ENDPOINT TOPIC BODY_BYTES            until the server refuses
//   fulmar-torture until-stored ENDPOINT TOPIC               until it takes one again
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/torture/consumer.h"
#include "tests/torture/history.h"
#include "tests/torture/producer.h"
#include "tests/torture/space.h"

namespace fulmar::torture {
namespace {

constexpr int kSyncProducers = 4, kAsyncProducers = 2, kStreamsOfLooseGroup = 2;
constexpr double kPauseMs = 2;
constexpr absl::Duration kInvisible = absl::Seconds(4);
// Behind everything that might still come again.
const absl::Duration kQuiet = kInvisible + absl::Seconds(2);
constexpr absl::Duration kDrainLimit = absl::Seconds(60);

int Workload(const std::vector<std::string>& arguments) {
  const std::string &endpoint = arguments[0], &sync_topic = arguments[3], &async_topic = arguments[4], &strict_group = arguments[5],
                    &loose_group = arguments[6];
  const uint64_t seed = std::strtoull(arguments[2].c_str(), nullptr, 10);
  History history(arguments[1]);
  std::atomic<bool> stop_producers = false, stop_consumers = false;
  std::vector<std::thread> producers, consumers;

  for (int i = 0; i < kSyncProducers + kAsyncProducers; ++i) {
    const bool sync = i < kSyncProducers;
    Producer::Options options{.endpoint = endpoint, .topic = sync ? sync_topic : async_topic, .number = i, .seed = seed * 1000 + static_cast<uint64_t>(i), .pause_ms = kPauseMs};
    if (sync) options.groups = {strict_group, loose_group};
    producers.emplace_back([&, options] { Producer(options, history).Run(stop_producers); });
  }
  int number = 0;
  for (const std::string& topic : {sync_topic, async_topic}) {
    for (int i = 0; i < 1 + kStreamsOfLooseGroup; ++i) {
      const Consumer::Options options{.endpoint = endpoint, .topic = topic, .group = i == 0 ? strict_group : loose_group, .number = number, .seed = seed * 1000 + 500 + static_cast<uint64_t>(number), .invisible = kInvisible};
      ++number;
      consumers.emplace_back([&, options] { Consumer(options, history).Run(stop_consumers); });
    }
  }

  std::string line;
  const bool drain = std::getline(std::cin, line) && line == "drain";
  stop_producers = true;
  for (std::thread& producer : producers) producer.join();
  const absl::Time deadline = absl::Now() + (drain ? kDrainLimit : absl::ZeroDuration());
  bool drained = false;
  while (!drained && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(50));
    const History::Progress now = history.progress();
    drained = now.unconsumed == 0 && NowNs() - now.last_delivery_ns > absl::ToInt64Nanoseconds(kQuiet);
  }
  stop_consumers = true;
  for (std::thread& consumer : consumers) consumer.join();
  const History::Progress end = history.progress();
  std::cout << nlohmann::json{{"drained", drained}, {"stored", end.stored}, {"delivered", end.delivered}, {"acknowledged", end.acknowledged}, {"unconsumed", end.unconsumed}} << "\n";
  return 0;
}

int Main(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (command == "workload" && rest.size() == 7) return Workload(rest);
  if (command == "fill" && rest.size() == 3) return Fill(rest[0], rest[1], std::atoi(rest[2].c_str()), absl::Minutes(2));
  if (command == "until-stored" && rest.size() == 2) return UntilStored(rest[0], rest[1], absl::Seconds(30));
  std::cerr << "see the top of tests/torture/main.cc\n";
  return 2;
}

}  // namespace
}  // namespace fulmar::torture

int main(int argc, char** argv) { return fulmar::torture::Main({argv + 1, argv + argc}); }
