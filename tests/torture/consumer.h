#ifndef FULMAR_TESTS_TORTURE_CONSUMER_H_
#define FULMAR_TESTS_TORTURE_CONSUMER_H_

#include <atomic>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/torture/history.h"
#include "tests/torture/wire.h"

namespace fulmar::torture {

// Receives one batch after the other and acknowledges most of it. Now and then it does with a message what consumers do: makes it
// visible again soon (a failed listener), keeps it longer (a slow one), or forgets it (a crashed one).
// It never acknowledges a delivery whose time is nearly over, so that no acknowledgement races with a redelivery.
// Threads: the caller of Run().
class Consumer {
 public:
  struct Options {
    std::string endpoint, topic, group;
    int number;
    uint64_t seed;
    absl::Duration invisible;
  };
  Consumer(Options options, History& history) : options_(std::move(options)), history_(history), random_(options_.seed) {}

  void Run(const std::atomic<bool>& stop);

 private:
  struct Held {
    int64_t delivery;
    std::string id, handle;
    int attempt;
    int64_t give_up_ns;  // no more acknowledgements from here on
  };
  // False when the call failed.
  bool Receive(std::vector<Held>& held);
  // Takes out what must not be acknowledged.
  void ChangeSome(std::vector<Held>& held);
  bool Change(Held& held, absl::Duration invisible);
  // Until all are answered or out of time.
  void Acknowledge(std::vector<Held> held, const std::atomic<bool>& stop);
  double Chance() { return std::uniform_real_distribution<>(0, 1)(random_); }

  const Options options_;
  History& history_;
  std::mt19937_64 random_;
  Connection server_{options_.endpoint};
};

}  // namespace fulmar::torture

#endif  // FULMAR_TESTS_TORTURE_CONSUMER_H_
