#ifndef FULMAR_TOOLS_BENCH_MESSAGES_H_
#define FULMAR_TOOLS_BENCH_MESSAGES_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "apache/rocketmq/v2/service.pb.h"

namespace fulmar::bench {

namespace v2 = apache::rocketmq::v2;

// A SendMessage request as bytes; only the ids of the messages and the stamps at the beginning of their bodies change from one to
// the next.
class SendTemplate {
 public:
  SendTemplate(const std::string& topic, int messages, int body_bytes);

  // A request with fresh ids; StampOf() of each body answers `stamp`.
  grpc::ByteBuffer Next(absl::Duration stamp);
  int messages() const { return static_cast<int>(id_places_.size()); }

 private:
  std::string bytes_;
  std::vector<size_t> id_places_, stamp_places_;
  const uint64_t run_;  // of ids, so that two runs differ
  uint64_t next_id_ = 0;
};

// Bodies are at least this long.
inline constexpr int kStampBytes = 16;
// The stamp of a body that a SendTemplate made.
std::optional<absl::Duration> StampOf(std::string_view body);

v2::ReceiveMessageRequest ReceiveRequest(const std::string& topic, const std::string& group, int batch, absl::Duration wait,
                                         absl::Duration invisible);

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_MESSAGES_H_
