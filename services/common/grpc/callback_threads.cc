#include "services/common/grpc/callback_threads.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <chrono>
#include <memory>

#include "absl/synchronization/notification.h"

namespace fulmar::common {
namespace {

// Reachable for the leak sanitizer; no optimizer takes an atomic away.
std::atomic<std::shared_ptr<grpc::Channel>*> kept_channel;

}  // namespace

void KeepCallbackThreads() {
#ifdef __SANITIZE_THREAD__
  return;  // its call through the library, which is not instrumented, would be reported in every test of a server
#endif
  static const bool kept = [] {
    // A channel takes part in the queue from its first callback call on. This one is over before it begins: its deadline has passed.
    auto* const channel = new std::shared_ptr<grpc::Channel>(grpc::CreateChannel("127.0.0.1:1", grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::time_point());
    const grpc::Slice nothing;
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    absl::Notification over;
    grpc::GenericStub(*channel).UnaryCall(&context, "/fulmar/none", grpc::StubOptions(), &request, &response,
                                          [&over](const grpc::Status&) { over.Notify(); });
    over.WaitForNotification();
    kept_channel = channel;
    return true;
  }();
  static_cast<void>(kept);
}

}  // namespace fulmar::common
