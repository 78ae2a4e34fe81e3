#ifndef FULMAR_COMMON_GRPC_GRPC_OPTIONS_H_
#define FULMAR_COMMON_GRPC_GRPC_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace fulmar::common {

// What a listener takes. kBoth tells the two apart by the first byte of a connection.
enum class TlsMode { kBoth, kTlsOnly, kPlaintextOnly };

// PEM texts, not file names. See tls_certificate.h.
struct TlsIdentity {
  std::string certificate_chain;
  std::string private_key;
};

struct GrpcServerOptions {
  std::string listen = "127.0.0.1:8081";  // HOST:PORT; port 0 takes a free one
  TlsMode tls = TlsMode::kPlaintextOnly;
  TlsIdentity identity;                   // for all but kPlaintextOnly
  absl::Duration first_byte_timeout = absl::Seconds(5);  // a connection silent for so long is closed
  int max_connections = 20'000;           // further ones are closed at once
  int max_receive_message_bytes = 64 << 20;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_GRPC_OPTIONS_H_
