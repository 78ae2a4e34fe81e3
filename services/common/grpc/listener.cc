#include "services/common/grpc/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "services/common/host_port.h"
#include "services/common/log.h"
#include "services/common/status.h"

namespace fulmar::common {
namespace {

constexpr uint64_t kSocketId = 1, kStopId = 2;
constexpr uint8_t kTlsHandshake = 0x16;
constexpr int kBacklog = 4096;
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);  // when descriptors have run out
constexpr absl::Duration kLogPeriod = absl::Seconds(10);

absl::Duration SteadyNow() {
  return absl::FromChrono(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()));
}

bool Watch(const Fd& epoll, int fd, uint64_t id, uint32_t events, int operation = EPOLL_CTL_ADD) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = id;
  return epoll_ctl(epoll.get(), operation, fd, &event) == 0;
}

absl::StatusOr<Fd> BindOne(const addrinfo& address) {
  Fd fd(socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::UnavailableError(std::strerror(errno));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || listen(fd.get(), kBacklog) != 0) return absl::UnavailableError(std::strerror(errno));
  return fd;
}

absl::StatusOr<Fd> BindHost(const HostPort& where, const std::string& text) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &found); error != 0)
    return absl::InvalidArgumentError(absl::StrCat("cannot listen on '", text, "': ", gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  absl::Status problem = absl::UnavailableError("no address");
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    absl::StatusOr<Fd> fd = BindOne(*address);
    if (fd.ok()) return fd;
    problem = fd.status();
  }
  return absl::UnavailableError(absl::StrCat("cannot listen on '", text, "': ", problem.message()));
}

int PortOf(const Fd& fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

std::string PeerOf(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST] = "unknown";
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0)
    getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.Release();
  }
  return *this;
}
Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}
int Fd::Release() { return std::exchange(fd_, -1); }

struct Listener::Counters {
  explicit Counters(Metrics& metrics)
      : open(metrics.AddGauge("fulmar_grpc_connections", "Connections that are open now")),
        plaintext(metrics.AddCounter("fulmar_grpc_connections_accepted_total", "Connections taken", {{"transport", "plaintext"}})),
        tls(metrics.AddCounter("fulmar_grpc_connections_accepted_total", "Connections taken", {{"transport", "tls"}})),
        silent(Refused(metrics, "silent")),
        plaintext_refused(Refused(metrics, "plaintext")),
        tls_refused(Refused(metrics, "tls")),
        full(Refused(metrics, "full")) {}
  static Counter& Refused(Metrics& metrics, const char* reason) {
    return metrics.AddCounter("fulmar_grpc_connections_refused_total", "Connections closed before a call", {{"reason", reason}});
  }
  Gauge& open;
  Counter &plaintext, &tls, &silent, &plaintext_refused, &tls_refused, &full;
};

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const GrpcServerOptions& options, Metrics& metrics) {
  FULMAR_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort(options.listen));
  FULMAR_ASSIGN_OR_RETURN(Fd socket, BindHost(where, options.listen));
  Fd epoll(epoll_create1(EPOLL_CLOEXEC)), stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll.valid() || !stop.valid() || !Watch(epoll, socket.get(), kSocketId, EPOLLIN) || !Watch(epoll, stop.get(), kStopId, EPOLLIN))
    return absl::UnavailableError(absl::StrCat("cannot watch the socket of '", options.listen, "': ", std::strerror(errno)));
  const int port = PortOf(socket);
  return std::unique_ptr<Listener>(new Listener(options, metrics, std::move(socket), std::move(epoll), std::move(stop), port));
}

Listener::Listener(const GrpcServerOptions& options, Metrics& metrics, Fd socket, Fd epoll, Fd stop, int port)
    : options_(options), socket_(std::move(socket)), epoll_(std::move(epoll)), stop_(std::move(stop)), port_(port), counters_(std::make_unique<Counters>(metrics)) {}

Listener::~Listener() { Stop(); }

void Listener::Start(OnConnection on_connection) {
  on_connection_ = std::move(on_connection);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof one);
  thread_.join();
  shutdown(socket_.get(), SHUT_RDWR);
  connections_.clear();
  counters_->open.Set(0);
}

void Listener::Run() {
  pthread_setname_np(pthread_self(), "acceptor");
  std::array<epoll_event, 128> events;
  for (;;) {
    const int ready = epoll_wait(epoll_.get(), events.data(), events.size(), EpollTimeoutMs());
    for (int i = 0; i < ready; ++i) {
      const uint64_t id = events[i].data.u64;
      if (id == kStopId) return;
      if (id == kSocketId) AcceptAll();
      else OnFirstByte(id);
    }
    CloseSilent();
    if (accept_again_ != absl::ZeroDuration() && SteadyNow() >= accept_again_) {
      accept_again_ = absl::ZeroDuration();
      Watch(epoll_, socket_.get(), kSocketId, EPOLLIN, EPOLL_CTL_MOD);
    }
  }
}

int Listener::EpollTimeoutMs() const {
  absl::Duration wait = absl::InfiniteDuration();
  if (!silent_.empty()) {
    // Those that have spoken leave the queue only when they come to its front.
    const auto first = connections_.find(silent_.front());
    wait = first == connections_.end() || first->second.handed_over ? absl::ZeroDuration() : first->second.first_byte_by - SteadyNow();
  }
  if (accept_again_ != absl::ZeroDuration()) wait = std::min(wait, accept_again_ - SteadyNow());
  if (wait == absl::InfiniteDuration()) return -1;
  return static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1)))));
}

void Listener::AcceptAll() {
  // Not without end: others are waiting for the peek. What is left wakes us again.
  for (int i = 0; i < 64; ++i) {
    const int fd = accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Take(Fd(fd));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      FULMAR_LOG_EVERY(kLogPeriod, kError, "accept_failed", {{"error", std::strerror(errno)}, {"connections", connections_.size()}});
      accept_again_ = SteadyNow() + kAcceptPause;
      Watch(epoll_, socket_.get(), kSocketId, 0, EPOLL_CTL_MOD);
    }
    if (errno != EINTR && errno != ECONNABORTED) return;
  }
}

void Listener::Take(Fd fd) {
  if (connections_.size() >= static_cast<size_t>(options_.max_connections)) {
    counters_->full.Add();
    FULMAR_LOG_EVERY(kLogPeriod, kWarn, "connection_refused", {{"reason", "too many connections"}, {"max", options_.max_connections}, {"peer", PeerOf(fd.get())}});
    return;
  }
  const uint64_t id = ++last_id_;
  const int raw = fd.get();
  connections_[id] = {.fd = std::move(fd), .first_byte_by = SteadyNow() + options_.first_byte_timeout};
  silent_.push_back(id);
  counters_->open.Set(static_cast<double>(connections_.size()));
  Watch(epoll_, raw, id, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT);
}

void Listener::OnFirstByte(uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  if (found->second.handed_over) {  // closed from both sides
    connections_.erase(found);
    counters_->open.Set(static_cast<double>(connections_.size()));
    return;
  }
  uint8_t first = 0;
  const ssize_t got = recv(found->second.fd.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got == 1) {
    const bool tls = first == kTlsHandshake;
    if (tls && options_.tls == TlsMode::kPlaintextOnly) return counters_->tls_refused.Add(), Refuse(id, "TLS on a plaintext listener");
    if (!tls && options_.tls == TlsMode::kTlsOnly) return counters_->plaintext_refused.Add(), Refuse(id, "plaintext on a TLS listener");
    return HandOver(id, tls);
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    Watch(epoll_, found->second.fd.get(), id, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, EPOLL_CTL_MOD);
    return;
  }
  connections_.erase(found);  // gone before it said anything: a port check
  counters_->open.Set(static_cast<double>(connections_.size()));
}

void Listener::Refuse(uint64_t id, const char* reason) {
  FULMAR_LOG_EVERY(kLogPeriod, kWarn, "connection_refused", {{"reason", reason}, {"peer", PeerOf(connections_[id].fd.get())}});
  connections_.erase(id);
  counters_->open.Set(static_cast<double>(connections_.size()));
}

void Listener::HandOver(uint64_t id, bool tls) {
  Connection& connection = connections_[id];
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
  const int on = 1;
  setsockopt(connection.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Fd handed = std::move(connection.fd);
  connection.handed_over = true;
  connection.fd = Fd(fcntl(handed.get(), F_DUPFD_CLOEXEC, 0));
  // No events asked for: what always comes is EPOLLHUP, when both sides have shut it down, and EPOLLERR.
  if (!connection.fd.valid() || !Watch(epoll_, connection.fd.get(), id, EPOLLET)) {
    FULMAR_LOG_EVERY(kLogPeriod, kError, "connection_refused", {{"reason", std::strerror(errno)}});
    connections_.erase(id);
    return;
  }
  (tls ? counters_->tls : counters_->plaintext).Add();
  on_connection_(handed.Release(), tls);
}

void Listener::CloseSilent() {
  while (!silent_.empty()) {
    const uint64_t id = silent_.front();
    const auto found = connections_.find(id);
    if (found != connections_.end() && !found->second.handed_over) {
      if (found->second.first_byte_by > SteadyNow()) return;
      counters_->silent.Add();
      Refuse(id, "silent");
    }
    silent_.pop_front();
  }
}

}  // namespace fulmar::common
