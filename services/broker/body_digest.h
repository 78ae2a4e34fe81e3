#ifndef FULMAR_BROKER_BODY_DIGEST_H_
#define FULMAR_BROKER_BODY_DIGEST_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "services/broker/wire_walk.h"

namespace fulmar::broker {

// Digests of message bodies as the protocol spells them. Keeps its OpenSSL contexts between calls: setting one up costs as much as
// digesting half a KiB. Threads: one at a time.
class BodyDigester {
 public:
  BodyDigester();
  ~BodyDigester();
  BodyDigester(BodyDigester&&) noexcept;

  // 32 upper-case hexadecimal digits.
  std::string Md5(std::string_view body);

  // MessageCorrupted if `digest` is one that we know and it is not that of `body`; `md5` is what Md5() gave. Text counts by its value:
  // letter case does not matter, and a CRC32 may be without leading zeros or decimal, as clients of different languages write it.
  absl::Status Check(const wire::DigestView& digest, std::string_view md5, std::string_view body);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_BODY_DIGEST_H_
