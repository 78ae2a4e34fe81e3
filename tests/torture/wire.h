#ifndef FULMAR_TESTS_TORTURE_WIRE_H_
#define FULMAR_TESTS_TORTURE_WIRE_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "apache/rocketmq/v2/service.grpc.pb.h"

namespace fulmar::torture {

namespace v2 = apache::rocketmq::v2;

// A connection of its own. Threads: one.
class Connection {
 public:
  explicit Connection(const std::string& endpoint);
  v2::MessagingService::Stub* operator->() { return stub_.get(); }
  // After a call without an answer: a short pause, longer while the server is away. Calls that fail at once leave a connection under
  // way to the library's background poller, which looks every 5 s only; waiting here does not.
  void Recover();

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v2::MessagingService::Stub> stub_;
};

void Prepare(grpc::ClientContext& context, const std::string& client_id, absl::Duration timeout);

// The clock of histories: CLOCK_MONOTONIC in nanoseconds, the same for all processes of a machine.
int64_t NowNs();

// A checksum over everything that a sender chose: body, tag, keys, properties.
uint32_t SumOf(const v2::Message& message);

// What a call ended with: a v2 code, or minus the gRPC code when there was no answer.
int CodeOf(const grpc::Status& status, const v2::Status& answer);
int CodeOf(const grpc::Status& status);

void SetDuration(absl::Duration value, google::protobuf::Duration* out);

}  // namespace fulmar::torture

#endif  // FULMAR_TESTS_TORTURE_WIRE_H_
