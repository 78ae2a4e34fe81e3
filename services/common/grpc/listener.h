#ifndef FULMAR_COMMON_GRPC_LISTENER_H_
#define FULMAR_COMMON_GRPC_LISTENER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/common/grpc/grpc_options.h"
#include "services/common/metrics.h"

namespace fulmar::common {

// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release();

 private:
  int fd_ = -1;
};

// Accepts TCP connections on one address and tells TLS from plaintext by the first byte, which stays in the socket for whoever gets it.
// Its one thread ("acceptor") never waits for any single connection: they are all watched with epoll.
//
//   accept ─► watched ──first byte 0x16──► on_connection(fd, tls)      counted until both sides have closed it
//                │    ──any other byte───► on_connection(fd, plain)
//                └─ nothing for first_byte_timeout, or not allowed ─► closed
//
// Owns:    the listening socket, the thread, connections that have not been handed over, and a second descriptor of each that has: it sees
//          when the connection ends, which gRPC tells nobody.
// Borrows: the metrics.
class Listener {
 public:
  // Takes over the descriptor, which does not block. On the acceptor thread; must not wait.
  using OnConnection = std::function<void(int fd, bool tls)>;

  // Binds at once; nothing is accepted before Start(). Errors: InvalidArgument (not HOST:PORT, unknown host), Unavailable (in use, not
  // allowed, with the reason).
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const GrpcServerOptions& options, Metrics& metrics);
  ~Listener();  // Stop()
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void Start(OnConnection on_connection);
  // Nothing more is accepted or handed over. Twice is fine.
  void Stop();

  int port() const { return port_; }

 private:
  struct Connection {
    Fd fd;
    bool handed_over = false;
    absl::Duration first_byte_by;
  };
  struct Counters;

  Listener(const GrpcServerOptions& options, Metrics& metrics, Fd socket, Fd epoll, Fd stop, int port);
  void Run();
  void AcceptAll();
  void Take(Fd fd);
  void OnFirstByte(uint64_t id);
  void Refuse(uint64_t id, const char* reason);
  void HandOver(uint64_t id, bool tls);
  void CloseSilent();
  int EpollTimeoutMs() const;

  const GrpcServerOptions options_;
  const Fd socket_, epoll_, stop_;
  const int port_;
  const std::unique_ptr<Counters> counters_;
  OnConnection on_connection_;

  // Of the thread only. Ids, not descriptors, name connections: numbers of descriptors are used again at once.
  absl::flat_hash_map<uint64_t, Connection> connections_;
  std::deque<uint64_t> silent_;  // in order of arrival, so of their deadline
  uint64_t last_id_ = 2;         // 1 and 2 are the listening socket and the stop event
  absl::Duration accept_again_ = absl::ZeroDuration();

  std::thread thread_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_LISTENER_H_
