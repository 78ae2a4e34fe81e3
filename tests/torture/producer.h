#ifndef FULMAR_TESTS_TORTURE_PRODUCER_H_
#define FULMAR_TESTS_TORTURE_PRODUCER_H_

#include <atomic>
#include <random>
#include <string>
#include <vector>

#include "tests/torture/history.h"
#include "tests/torture/wire.h"

namespace fulmar::torture {

// Sends one request after the other, of one message or several, of all sizes. A request without an answer is repeated with the same
// ids, as the official clients do, or given up, so that nobody ever knows whether it was stored.
// Threads: the caller of Run().
class Producer {
 public:
  struct Options {
    std::string endpoint, topic;
    std::vector<std::string> groups;  // that are to consume what is stored; empty: whoever likes
    int number;
    uint64_t seed;
    double pause_ms;  // between requests, on average
  };
  Producer(Options options, History& history) : options_(std::move(options)), history_(history), random_(options_.seed) {}

  void Run(const std::atomic<bool>& stop);

 private:
  v2::SendMessageRequest NextRequest();
  // True when there is nothing to repeat.
  bool Send(const v2::SendMessageRequest& request, const std::vector<uint32_t>& sums);
  double Chance() { return std::uniform_real_distribution<>(0, 1)(random_); }

  const Options options_;
  History& history_;
  std::mt19937_64 random_;
  Connection server_{options_.endpoint};
  int64_t next_ = 0;
};

}  // namespace fulmar::torture

#endif  // FULMAR_TESTS_TORTURE_PRODUCER_H_
