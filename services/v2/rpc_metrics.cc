#include "services/v2/rpc_metrics.h"

#include "services/common/errors.h"

namespace fulmar::v2edge {
namespace {

constexpr std::string_view kRequests = "fulmar_rpc_requests_total";
constexpr std::string_view kRequestsHelp = "Calls answered, by RPC and code of the protocol";

std::string CodeLabel(int v2_code) { return v2_code == 0 ? "none" : std::string(V2CodeName(v2_code)); }

}  // namespace

RpcMetrics::Rpc::Rpc(common::Metrics& metrics, std::string_view name)
    : metrics_(metrics),
      name_(name),
      duration_(metrics.AddHistogram("fulmar_rpc_duration_seconds", "Time from a call's arrival to its answer", common::LatencyBuckets(), {{"rpc", name_}})),
      ok_(metrics.AddCounter(kRequests, kRequestsHelp, {{"rpc", name_}, {"code", "OK"}})) {}

void RpcMetrics::Rpc::Record(int v2_code, absl::Duration took) {
  duration_.Observe(took);
  (v2_code == kV2Ok ? ok_ : CounterOf(v2_code)).Add();
}

common::Counter& RpcMetrics::Rpc::CounterOf(int v2_code) {
  absl::MutexLock lock(&mutex_);
  common::Counter*& counter = by_code_[v2_code];
  if (counter == nullptr) counter = &metrics_.AddCounter(kRequests, kRequestsHelp, {{"rpc", name_}, {"code", CodeLabel(v2_code)}});
  return *counter;
}

RpcMetrics::Rpc& RpcMetrics::Of(std::string_view name) {
  absl::MutexLock lock(&mutex_);
  std::unique_ptr<Rpc>& rpc = rpcs_[name];
  if (rpc == nullptr) rpc.reset(new Rpc(metrics_, name));
  return *rpc;
}

}  // namespace fulmar::v2edge
