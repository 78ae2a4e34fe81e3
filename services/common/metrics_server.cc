#include "services/common/metrics_server.h"

#include <httplib.h>
#include <pthread.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/host_port.h"
#include "services/common/status.h"

namespace fulmar::common {

MetricsServer::MetricsServer(const Metrics& metrics, Health health)
    : metrics_(metrics), health_(std::move(health)), server_(std::make_unique<httplib::Server>()) {
  server_->new_task_queue = [] { return new httplib::ThreadPool(2); };
  // The library's default is SO_REUSEPORT: two processes on one port would both start, and each get some requests.
  server_->set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server_->set_read_timeout(5);
  server_->set_write_timeout(5);
  server_->set_payload_max_length(0);  // nobody has reason to send a body
  server_->set_keep_alive_timeout(5);

  server_->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics_.Render(), "text/plain; version=0.0.4; charset=utf-8");
  });
  server_->Get("/healthz", [this](const httplib::Request&, httplib::Response& response) {
    const absl::Status health = health_();
    response.status = health.ok() ? 200 : 503;
    response.set_content(health.ok() ? "ok\n" : absl::StrCat(health.message(), "\n"), "text/plain; charset=utf-8");
  });
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address,
                                                                    const Metrics& metrics, Health health) {
  FULMAR_ASSIGN_OR_RETURN(const HostPort host_port, ParseHostPort(address));
  std::unique_ptr<MetricsServer> self(new MetricsServer(metrics, std::move(health)));
  errno = 0;
  httplib::Server& server = *self->server_;
  if (host_port.port == 0) {
    self->port_ = server.bind_to_any_port(host_port.host.c_str());
  } else if (server.bind_to_port(host_port.host.c_str(), host_port.port)) {
    self->port_ = host_port.port;
  }
  if (self->port_ <= 0) {
    const std::string reason = errno != 0 ? std::generic_category().message(errno) : "the host is not known";
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, " for metrics: ", reason));
  }
  self->thread_ = std::thread([server = self->server_.get()] {
    pthread_setname_np(pthread_self(), "metrics");
    server->listen_after_bind();
  });
  // stop() before listen_after_bind() has begun would be forgotten.
  while (!self->server_->is_running()) std::this_thread::yield();
  return self;
}

MetricsServer::~MetricsServer() {
  server_->stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace fulmar::common
