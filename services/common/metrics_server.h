#ifndef FULMAR_COMMON_METRICS_SERVER_H_
#define FULMAR_COMMON_METRICS_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/metrics.h"

namespace httplib {
class Server;
}

namespace fulmar::common {

// A small HTTP server for machines that watch: GET /metrics in Prometheus' text format, GET /healthz with 200 "ok" or
// 503 and the reason. Own threads (one that accepts, two that answer), so it answers while the core is busy or stuck.
// Borrows: `metrics` and what `health` looks at; both outlive it. `health` is called on those threads.
class MetricsServer {
 public:
  using Health = std::function<absl::Status()>;

  // Listens on `address` ("127.0.0.1:9464", "[::]:9464"; port 0: any free one). Errors: InvalidArgument (not
  // HOST:PORT), Unavailable (cannot be bound, with the reason).
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& address, const Metrics& metrics,
                                                              Health health);
  ~MetricsServer();  // stops listening and joins

  int port() const { return port_; }

 private:
  MetricsServer(const Metrics& metrics, Health health);

  const Metrics& metrics_;
  const Health health_;
  const std::unique_ptr<httplib::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_METRICS_SERVER_H_
