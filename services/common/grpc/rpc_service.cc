#include "services/common/grpc/rpc_service.h"

#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::common {
namespace {

// Calls that may come at the same moment without one waiting for the other's successor to be asked for.
constexpr int kReadyCalls = 16;

}  // namespace

void RpcDispatcher::Add(const RpcService& service) {
  for (const auto& [name, method] : service.methods()) {
    const bool is_new = methods_.emplace(absl::StrCat("/", service.name(), "/", name), &method).second;
    FULMAR_CHECK(is_new, "a method is served twice");
  }
}

void RpcDispatcher::Start() {
  for (int i = 0; i < kReadyCalls; ++i) AskForOne();
}

void RpcDispatcher::WaitUntilEmpty() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(+[](int* calls) { return *calls == 0; }, &calls_));
}

void RpcDispatcher::AskForOne() {
  {
    absl::MutexLock lock(&mutex_);
    ++calls_;
  }
  const auto call = std::make_shared<ServerCall>(executor_);
  const auto begun = [this, call = call.get()](bool ok) {
    if (ok) OnBegun(*call);
  };
  call->Ask(service_, begun, [this] {
    absl::MutexLock lock(&mutex_);
    --calls_;
  });
}

void RpcDispatcher::OnBegun(ServerCall& call) {
  AskForOne();
  const auto found = methods_.find(call.method());
  if (found == methods_.end()) return call.Finish({grpc::StatusCode::UNIMPLEMENTED, ""});
  const RpcService::Method& method = *found->second;
  if (!method.reads_request) return static_cast<void>(method.begin(call, nullptr));
  call.ReadRequest([&call, &method](grpc::ByteBuffer* request) {
    if (request == nullptr || !method.begin(call, request)) call.Finish({grpc::StatusCode::UNIMPLEMENTED, "this is no request of the method"});
  });
}

}  // namespace fulmar::common
