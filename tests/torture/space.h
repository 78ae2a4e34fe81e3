#ifndef FULMAR_TESTS_TORTURE_SPACE_H_
#define FULMAR_TESTS_TORTURE_SPACE_H_

#include <string>

#include "absl/time/time.h"

namespace fulmar::torture {

// Sends bodies of `body_bytes` until the server has refused every one for a second. Prints one JSON object: stored, code, message.
int Fill(const std::string& endpoint, const std::string& topic, int body_bytes, absl::Duration limit);

// Sends a small message every 50 ms until one is stored. Prints one JSON object: seconds, attempts.
int UntilStored(const std::string& endpoint, const std::string& topic, absl::Duration limit);

}  // namespace fulmar::torture

#endif  // FULMAR_TESTS_TORTURE_SPACE_H_
