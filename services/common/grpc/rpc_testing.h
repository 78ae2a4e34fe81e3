#ifndef FULMAR_COMMON_GRPC_RPC_TESTING_H_
#define FULMAR_COMMON_GRPC_RPC_TESTING_H_

#include <google/protobuf/wrappers.pb.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "services/common/executor.h"
#include "services/common/grpc/rpc_service.h"

// A service for tests of both ends: echoes, counts, waits.
namespace fulmar::common {

using Text = google::protobuf::StringValue;

inline Text TextOf(std::string value) {
  Text text;
  text.set_value(std::move(value));
  return text;
}

// What is still open, and what became of it.
class Ledger {
 public:
  void Add(int& count, int by) {
    absl::MutexLock lock(&mutex_);
    count += by;
  }
  int Of(const int& count) {
    absl::MutexLock lock(&mutex_);
    return count;
  }
  // Until `count` has reached `value`; the test's own limit of time is the bound.
  void Await(const int& count, int value) {
    absl::MutexLock lock(&mutex_);
    const auto reached = [&] { return count == value; };
    mutex_.Await(absl::Condition(&reached));
  }

  int begun = 0, cancelled = 0, done = 0, answered = 0;

 private:
  absl::Mutex mutex_;
};

// Writes numbers: "3" gives three, "for ever" as many as the other thread can before the client leaves.
class Counting final : public ServerWriter<Text> {
 public:
  Counting(ServerCall& call, Ledger& ledger, Executor& elsewhere, const std::string& request)
      : ServerWriter(call), ledger_(ledger), elsewhere_(elsewhere), for_ever_(request == "for ever"), left_(for_ever_ ? 0 : std::stoi(request)) {
    ledger_.Add(ledger_.begun, 1);
    StartSendInitialMetadata();
    Next();
  }
  void OnWriteDone(bool ok) override {
    if (ok && !cancelled_) Next();
  }
  void OnCancel() override {
    cancelled_ = true;
    ledger_.Add(ledger_.cancelled, 1);
    elsewhere_.Post([this] { Finish(grpc::Status::CANCELLED); });
  }
  void OnDone() override {
    ledger_.Add(ledger_.done, 1);
    delete this;
  }

 private:
  void Next() {
    Text text;
    text.set_value(absl::StrCat(++written_));
    if (for_ever_) elsewhere_.Post([this, text] { StartWrite(text); });
    else if (written_ <= left_) StartWrite(text);
    else Finish(grpc::Status::OK);
  }

  Ledger& ledger_;
  Executor& elsewhere_;
  const bool for_ever_;
  const int left_;
  int written_ = 0;
  bool cancelled_ = false;
};

// Says everything twice, then good-bye.
class Talking final : public ServerStream<Text, Text> {
 public:
  Talking(ServerCall& call, Ledger& ledger) : ServerStream(call), ledger_(ledger) {
    ledger_.Add(ledger_.begun, 1);
    StartSendInitialMetadata();
    StartRead(&heard_);
  }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish({grpc::StatusCode::ABORTED, "bye"});
    heard_.set_value(heard_.value() + heard_.value());
    StartWrite(heard_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&heard_);
  }
  void OnCancel() override {
    ledger_.Add(ledger_.cancelled, 1);
    Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    ledger_.Add(ledger_.done, 1);
    delete this;
  }

 private:
  Ledger& ledger_;
  Text heard_;
};

class EchoService final : public RpcService {
 public:
  EchoService(Ledger& ledger, Executor& elsewhere) : RpcService("test.Echo"), ledger_(ledger), elsewhere_(elsewhere) {
    AddUnary("Say", &EchoService::Say);
    AddUnary("Park", &EchoService::Park);
    AddServerStream("Count", &EchoService::Count);
    AddBidi("Talk", &EchoService::Talk);
  }
  void Say(UnaryCall* call, const Text* request, Text* response) {
    if (request->value() == "error") {
      call->context().AddTrailingMetadata("reason", "because");
      return call->Finish({grpc::StatusCode::FAILED_PRECONDITION, "no"});
    }
    response->set_value(request->value());
    call->Finish(grpc::Status::OK);
  }
  // Answered by AnswerParked(), or at once after it, elsewhere.
  void Park(UnaryCall* call, const Text* request, Text* response) {
    elsewhere_.Post([this, call, request, response] {
      const auto answer = [call, request, response] {
        response->set_value(request->value());
        call->Finish(grpc::Status::OK);
      };
      if (answering_) answer();
      else parked_.push_back(answer);
      ledger_.Add(ledger_.begun, 1);
    });
  }
  void AnswerParked() {
    elsewhere_.Post([this] {
      answering_ = true;
      for (const auto& answer : parked_) answer();
      parked_.clear();
    });
  }
  void Count(ServerCall* call, const Text* request) { new Counting(*call, ledger_, elsewhere_, request->value()); }
  void Talk(ServerCall* call) { new Talking(*call, ledger_); }

 private:
  Ledger& ledger_;
  Executor& elsewhere_;
  // Of `elsewhere`.
  std::vector<std::function<void()>> parked_;
  bool answering_ = false;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_RPC_TESTING_H_
