#ifndef FULMAR_TOOLS_BENCH_SENDER_H_
#define FULMAR_TOOLS_BENCH_SENDER_H_

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tools/bench/calls.h"
#include "tools/bench/histogram.h"
#include "tools/bench/messages.h"

namespace fulmar::bench {

struct SendOptions {
  std::string topic;
  int in_flight = 64;    // requests
  int batch = 1;         // messages per request
  int body_bytes = 1024;
  double rate = 0;       // messages per second, spread evenly; 0: the next as soon as one is answered
  int64_t max_ahead = 0; // messages that may be sent but not yet consumed, see Consumed(); 0: any number
};

struct SendCounts {
  Histogram latency;     // per request, see Sender
  uint64_t messages = 0; // acknowledged
  std::map<std::string, uint64_t> refused;  // messages per reason
};

// Keeps requests in flight over the engine's connections.
// At a given rate a request's latency counts from the moment when it was due, not from when it could be sent: a server that stalls
// cannot hide the requests that would have come meanwhile. Without a rate it counts from the start of the call.
// Threads: the engine's, one of its own for the rate; Begin/Measure/Stop from one other thread.
class Sender {
 public:
  Sender(Engine& engine, SendOptions options);
  ~Sender();

  void Begin();
  // From now on counts; what was counted before is forgotten.
  void BeginMeasuring();
  void EndMeasuring();
  // No new requests; returns when all are answered. Twice is fine.
  void Stop();

  // Of the measured span. After Stop().
  const SendCounts& counts() const { return counts_; }
  // So many messages have been consumed; for max_ahead. Engine's thread.
  void Consumed(int64_t messages);
  // Set when nothing but refusals came for a while.
  bool hopeless() const { return failures_in_a_row_ > 1000; }

 private:
  class Slot;
  // Any slot's next request; false: it must wait.
  bool TakeDue(Slot* slot, absl::Duration& due);
  void PaceLoop();
  void OnAnswer(Slot* slot, absl::Duration since, const grpc::Status& status, grpc::ByteBuffer& answer);

  Engine& engine_;
  const SendOptions options_;
  v2::SendMessageResponse response_;
  std::atomic<bool> stopping_ = false, measuring_ = false;
  std::atomic<int> failures_in_a_row_ = 0;
  SendCounts counts_;  // engine's thread
  std::thread pacer_;

  absl::Mutex mutex_;
  SendTemplate template_ ABSL_GUARDED_BY(mutex_);
  std::vector<Slot*> idle_ ABSL_GUARDED_BY(mutex_);
  std::deque<absl::Duration> overdue_ ABSL_GUARDED_BY(mutex_);
  int64_t ahead_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t busy_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_SENDER_H_
