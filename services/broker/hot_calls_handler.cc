#include "services/broker/hot_calls_handler.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <utility>
#include <vector>

#include "services/v2/call_info_convert.h"

namespace fulmar::broker {
namespace {

// Texts of at least this size leave without a copy: below it, counting references costs more.
constexpr size_t kBorrowBytes = 8 * 1024;

// The request in one piece. Small ones are already; the others are copied once.
class FlatRequest {
 public:
  explicit FlatRequest(grpc::ByteBuffer& buffer) {
    if (!buffer.TrySingleSlice(&slice_).ok()) (void)buffer.DumpToSingleSlice(&slice_);
  }
  std::string_view view() const { return {reinterpret_cast<const char*>(slice_.begin()), slice_.size()}; }

 private:
  grpc::Slice slice_;
};

// What a slice of ours keeps alive. gRPC gives it back on any of its threads; that it was handed over before is said here too, where the thread
// sanitizer sees it: the library's own count is not instrumented.
template <class Owner>
struct Kept {
  Owner owner;
  std::atomic<bool> handed_over = false;
};

// Keeps `owner` as long as gRPC needs `bytes`.
template <class Owner>
grpc::Slice Borrowed(std::string_view bytes, Owner owner) {
  const auto release = [](void* given) {
    auto* const kept = static_cast<Kept<Owner>*>(given);
    if (kept->handed_over.load(std::memory_order_acquire)) delete kept;
  };
  auto* const kept = new Kept<Owner>{std::move(owner)};
  kept->handed_over.store(true, std::memory_order_release);
  return grpc::Slice(const_cast<char*>(bytes.data()), bytes.size(), release, kept);
}

grpc::Slice SliceOf(std::string text) {
  if (text.size() < kBorrowBytes) return grpc::Slice(text.data(), text.size());
  auto kept = std::make_unique<std::string>(std::move(text));
  const std::string_view view = *kept;
  return Borrowed(view, std::move(kept));
}

grpc::ByteBuffer BufferOf(std::string text) {
  const grpc::Slice slice = SliceOf(std::move(text));
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer BufferOf(OutBytes bytes) {
  if (bytes.body.empty()) return BufferOf(std::move(bytes.head));
  const std::string_view body = bytes.body.view();
  const grpc::Slice slices[] = {SliceOf(std::move(bytes.head)), Borrowed(body, std::move(bytes.body))};
  return grpc::ByteBuffer(slices, 2);
}

grpc::Status ToGrpc(const absl::Status& status) { return {grpc::StatusCode::INVALID_ARGUMENT, std::string(status.message())}; }

enum class Method { kSend, kAck };

// One SendMessage or AckMessage: asked for ─► handled ─► answered, gone.
template <Method method>
class UnaryCall final : public common::CqTag {
 public:
  static void Ask(const HotCalls& calls) {
    auto* call = new UnaryCall(calls);
    grpc::ServerCompletionQueue* queue = calls.executor.queue();
    if constexpr (method == Method::kSend) calls.service.RequestSendMessage(&call->context_, &call->request_, &call->responder_, queue, queue, call);
    else calls.service.RequestAckMessage(&call->context_, &call->request_, &call->responder_, queue, queue, call);
  }

  void Run(bool ok) override {
    if (!ok || answered_) {  // the server is stopping, or this is the end of the answer
      delete this;
      return;
    }
    Ask(calls_);
    const FlatRequest request(request_);
    const v2edge::CallInfo info = v2edge::CallInfoOf(context_);
    auto reply = [this](absl::StatusOr<std::string> response) { Answer(std::move(response)); };
    if constexpr (method == Method::kSend) calls_.data_plane.Send(info, request.view(), reply);
    else calls_.data_plane.Ack(info, request.view(), reply);
  }

 private:
  explicit UnaryCall(const HotCalls& calls) : calls_(calls), responder_(&context_) {}

  void Answer(absl::StatusOr<std::string> response) {
    answered_ = true;
    if (response.ok()) responder_.Finish(BufferOf(*std::move(response)), grpc::Status::OK, this);
    else responder_.FinishWithError(ToGrpc(response.status()), this);
  }

  const HotCalls calls_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> responder_;
  bool answered_ = false;
};

// One ReceiveMessage. Two things come out of the queue for it: the ends of its operations, one at a time, and, once, the end of the call.
class StreamCall final : public common::CqTag {
 public:
  static void Ask(const HotCalls& calls) {
    auto* call = new StreamCall(calls);
    grpc::ServerCompletionQueue* queue = calls.executor.queue();
    call->context_.AsyncNotifyWhenDone(&call->ended_);
    calls.service.RequestReceiveMessage(&call->context_, &call->request_, &call->writer_, queue, queue, call);
  }

  void Run(bool ok) override {
    busy_ = false;
    if (!begun_) {
      if (ok) Begin();
      else delete this;  // the server is stopping; of a call that never began no end is told
      return;
    }
    if (finishing_) return MaybeDelete();
    if (ok) ++taken_;
    if (ok && taken_ < parts_.size()) return WriteNext();
    OnPartsDone(ok);
  }

 private:
  class Ended final : public common::CqTag {
   public:
    explicit Ended(StreamCall& call) : call_(call) {}
    void Run(bool) override { call_.OnEnded(); }

   private:
    StreamCall& call_;
  };
  // What the data plane holds of the call. It can be gone long before the call is.
  class Stream final : public ReceiveStream {
   public:
    explicit Stream(StreamCall& call) : call_(call) {}
    void Reply(std::vector<OutBytes> parts, absl::AnyInvocable<void(size_t) &&> done) override { call_.Reply(std::move(parts), std::move(done)); }
    void Fail(absl::Status status) override { call_.Fail(status); }

   private:
    StreamCall& call_;
  };

  explicit StreamCall(const HotCalls& calls) : calls_(calls), writer_(&context_) {}

  void Begin() {
    begun_ = true;
    Ask(calls_);
    const FlatRequest request(request_);
    waiting_ = calls_.data_plane.Receive(v2edge::CallInfoOf(context_), request.view(), std::make_unique<Stream>(*this));
  }

  void Reply(std::vector<OutBytes> parts, absl::AnyInvocable<void(size_t) &&> done) {
    replied_ = true;
    parts_ = std::move(parts);
    done_ = std::move(done);
    WriteNext();
  }

  void Fail(const absl::Status& status) {
    replied_ = finishing_ = busy_ = true;
    writer_.Finish(ToGrpc(status), this);
  }

  // The last part takes the end of the stream with it, and gRPC may keep those between the first and the last (up to 64 KiB) until then: a
  // small answer is two calls of the system. Not the first one: with the headers it counts as written when it is on its way, and only
  // then the next part may follow.
  void WriteNext() {
    busy_ = true;
    const grpc::ByteBuffer part = BufferOf(std::move(parts_[taken_]));
    grpc::WriteOptions options;
    if (taken_ > 0) options.set_buffer_hint();
    if (taken_ + 1 < parts_.size()) writer_.Write(part, options, this);
    else writer_.WriteAndFinish(part, grpc::WriteOptions(), grpc::Status::OK, this);
  }

  // All parts are out, or the stream died; then nobody knows how many of them were still waiting in it, and a client whose stream fails
  // handles none. A dead stream is finished too, for gRPC's books.
  void OnPartsDone(bool ok) {
    std::move(done_)(ok ? taken_ : 0);
    finishing_ = true;
    const bool finish_sent = ok || taken_ + 1 == parts_.size();
    if (finish_sent) return MaybeDelete();
    busy_ = true;
    writer_.Finish(grpc::Status::CANCELLED, this);
  }

  void OnEnded() {
    is_over_ = true;
    if (!replied_) {
      finishing_ = true;  // nothing is left to do
      calls_.data_plane.CancelReceive(waiting_);
    }
    MaybeDelete();
  }

  void MaybeDelete() {
    if (is_over_ && finishing_ && !busy_) delete this;
  }

  const HotCalls calls_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_;
  Ended ended_{*this};

  DataPlane::ReceiveCall waiting_ = 0;
  std::vector<OutBytes> parts_;
  size_t taken_ = 0;  // parts that gRPC took over
  absl::AnyInvocable<void(size_t) &&> done_;
  bool begun_ = false;
  bool busy_ = false;       // an operation is out
  bool replied_ = false;
  bool finishing_ = false;  // no operation will follow the one that is out
  bool is_over_ = false;    // gRPC has told the end of the call
};

}  // namespace

void HotCalls::Start(int ready) {
  for (int i = 0; i < ready; ++i) {
    UnaryCall<Method::kSend>::Ask(*this);
    UnaryCall<Method::kAck>::Ask(*this);
    StreamCall::Ask(*this);
  }
}

}  // namespace fulmar::broker
