#ifndef FULMAR_COMMON_GRPC_TLS_CERTIFICATE_H_
#define FULMAR_COMMON_GRPC_TLS_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/common/grpc/grpc_options.h"

namespace fulmar::common {

// Reads a certificate chain and its private key from PEM files and checks that they belong together.
// Errors: InvalidArgument, naming the file and what is wrong with it.
absl::StatusOr<TlsIdentity> LoadTlsIdentity(const std::string& certificate_file, const std::string& key_file);

// For servers that are to be tried out without further ado: the pair DIR/tls.crt and DIR/tls.key (mode 0600). Made when missing, and made
// anew when it does not name one of `names` or ends within `renew_before`. Blocking; start-up only.
absl::StatusOr<TlsIdentity> SelfSignedIdentity(const std::string& dir, const std::vector<std::string>& names,
                                               absl::Duration renew_before = absl::Hours(24) * 30);
// localhost, 127.0.0.1, ::1 and the name of this machine.
std::vector<std::string> LocalNames();

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_TLS_CERTIFICATE_H_
