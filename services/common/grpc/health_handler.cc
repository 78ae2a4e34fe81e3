#include "services/common/grpc/health_handler.h"

#include <optional>
#include <utility>
#include <vector>

namespace fulmar::common {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One watch. At any time at most one write, or the end, is under way; it is started without the lock.
class HealthHandler::Watcher final : public ServerWriter<HealthCheckResponse>, public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(HealthHandler& owner, ServerCall& call, std::string service) : ServerWriter(call), owner_(owner), service_(std::move(service)) {}

  void Pump() {
    bool finish = false;
    HealthCheckResponse response;
    {
      absl::MutexLock lock(&owner_.mutex_);
      if (writing_ || finished_) return;
      const auto found = owner_.services_.find(service_);
      const ServingStatus now = found == owner_.services_.end() ? HealthCheckResponse::SERVICE_UNKNOWN : found->second;
      if (!is_dead_ && told_ != now) {
        told_ = now;
        writing_ = true;
        response.set_status(now);
      } else if (is_dead_ || owner_.stopped_) {
        finished_ = finish = true;
      } else {
        return;
      }
    }
    if (finish) Finish({grpc::StatusCode::UNAVAILABLE, "the server is stopping"});
    else StartWrite(response);
  }
  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&owner_.mutex_);
      writing_ = false;
      is_dead_ = is_dead_ || !ok;
    }
    Pump();
  }
  void OnCancel() override {
    {
      absl::MutexLock lock(&owner_.mutex_);
      is_dead_ = true;
    }
    Pump();
  }
  void OnDone() override {
    const std::shared_ptr<Watcher> self = shared_from_this();  // until the lock is given back
    absl::MutexLock lock(&owner_.mutex_);
    owner_.watchers_.erase(self);
  }

 private:
  HealthHandler& owner_;
  const std::string service_;
  // Guarded by the owner's mutex.
  std::optional<ServingStatus> told_;
  bool writing_ = false, finished_ = false, is_dead_ = false;
};

HealthHandler::HealthHandler() : RpcService("grpc.health.v1.Health") {
  AddUnary("Check", &HealthHandler::Check);
  AddServerStream("Watch", &HealthHandler::Watch);
}

void HealthHandler::Set(const std::string& service, bool serving) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    services_[service] = serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
  }
  PumpAll();
}

void HealthHandler::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    for (auto& [name, status] : services_) status = HealthCheckResponse::NOT_SERVING;
  }
  PumpAll();
}

void HealthHandler::PumpAll() {
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    absl::MutexLock lock(&mutex_);
    watchers.assign(watchers_.begin(), watchers_.end());
  }
  for (const std::shared_ptr<Watcher>& watcher : watchers) watcher->Pump();
}

void HealthHandler::Check(UnaryCall* call, const HealthCheckRequest* request, HealthCheckResponse* response) {
  std::optional<ServingStatus> status;
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = services_.find(request->service()); found != services_.end()) status = found->second;
  }
  if (!status.has_value()) return call->Finish({grpc::StatusCode::NOT_FOUND, "no such service"});
  response->set_status(*status);
  call->Finish(grpc::Status::OK);
}

void HealthHandler::Watch(ServerCall* call, const HealthCheckRequest* request) {
  const auto watcher = std::make_shared<Watcher>(*this, *call, request->service());
  {
    absl::MutexLock lock(&mutex_);
    watchers_.insert(watcher);
  }
  watcher->Pump();
}

}  // namespace fulmar::common
