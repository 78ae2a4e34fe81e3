#ifndef FULMAR_TESTS_INTEGRATION_SERVER_PROCESS_H_
#define FULMAR_TESTS_INTEGRATION_SERVER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fulmar::integration {

// A `fulmar standalone` on free ports, in a folder of its own that goes with it. The executable is $FULMAR_BIN/fulmar, else the one beside
// this program's folder. A server that does not come up, or that ended by itself, fails the test that asks.
class ServerProcess {
 public:
  explicit ServerProcess(std::vector<std::string> flags = {});
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& endpoint() const { return endpoint_; }
  int port() const { return port_; }
  const std::string& dir() const { return dir_; }
  bool Running() const;
  int64_t ResidentBytes() const;
  std::string Log() const;
  // Waits until a line of the log holds `text`; false after 10 s.
  bool WaitForLog(const std::string& text) const;

  // One for all tests that leave it as they found it: short invisible times are allowed, topics and groups are made when named.
  static ServerProcess& Shared();
  // The same without that making.
  static ServerProcess& Strict();

 private:
  void WaitUntilServing();

  std::string dir_, endpoint_;
  pid_t pid_ = 0;
  int port_ = 0;
};

// True under a sanitizer's server, which needs a multiple of memory and time.
bool ServerIsSanitized();

}  // namespace fulmar::integration

#endif  // FULMAR_TESTS_INTEGRATION_SERVER_PROCESS_H_
