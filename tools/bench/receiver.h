#ifndef FULMAR_TOOLS_BENCH_RECEIVER_H_
#define FULMAR_TOOLS_BENCH_RECEIVER_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tools/bench/calls.h"
#include "tools/bench/histogram.h"
#include "tools/bench/messages.h"

namespace fulmar::bench {

struct ReceiveOptions {
  std::string topic, group;
  int receives = 4;     // streams kept open
  int batch = 32;
  absl::Duration wait = absl::Seconds(20);
  absl::Duration invisible = absl::Seconds(60);
  bool acknowledge = true;
  bool again = true;    // open the next when one ends
};

struct ReceiveCounts {
  Histogram latency;  // from the stamp of the body to here, where a listener would run
  uint64_t received = 0, acknowledged = 0;
  uint64_t redelivered = 0;  // attempts above the first
  std::map<std::string, uint64_t> failures;
};

// Keeps streams of ReceiveMessage open and acknowledges each batch with one AckMessage, while the next receive already runs.
// Threads as Sender.
class Receiver {
 public:
  Receiver(Engine& engine, ReceiveOptions options);
  ~Receiver();

  void Begin();
  void BeginMeasuring();
  void EndMeasuring();
  // Ends the streams and waits for them and for the acknowledgements under way. Twice is fine.
  void Stop();

  // After Stop().
  const ReceiveCounts& counts() const { return counts_; }
  int open() const { return open_; }
  uint64_t total_received() const { return total_received_; }
  // Called with each number of messages that were received, on the engine's thread. Before Begin().
  void OnReceived(std::function<void(int64_t)> listener) { listener_ = std::move(listener); }

 private:
  class Stream;
  class Ack;
  void Ended();

  Engine& engine_;
  const ReceiveOptions options_;
  const grpc::ByteBuffer request_;
  std::function<void(int64_t)> listener_;
  v2::ReceiveMessageResponse response_;
  std::atomic<bool> stopping_ = false, measuring_ = false;
  std::atomic<int> open_ = 0;
  std::atomic<uint64_t> total_received_ = 0;
  ReceiveCounts counts_;
  std::vector<std::unique_ptr<Stream>> streams_;
  absl::Mutex mutex_;
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;  // streams and acknowledgements
};

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_RECEIVER_H_
