#ifndef FULMAR_TOOLS_FULMARCTL_OUTPUT_H_
#define FULMAR_TOOLS_FULMARCTL_OUTPUT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace fulmar::ctl {

// Rows under upper-case headings, columns as wide as their widest cell; numbers are the caller's text.
std::string Table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows);

std::string BytesText(uint64_t bytes);            // "1.5 MiB"
std::string AgeText(absl::Duration age);          // "3m 12s"
std::string TimeText(absl::Time time);            // RFC 3339, UTC, milliseconds

// What a script can tell apart; listed in `fulmarctl --help`.
enum ExitCode {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kNotFound = 3,
  kConflict = 4,     // exists with other settings, precondition not met
  kUnreachable = 5,  // no answer: server away, wrong address, timeout
  kRefused = 6,      // not allowed
};
ExitCode ExitCodeOf(const absl::Status& status);

// The text when the bytes are UTF-8 without control characters but tab, CR and LF.
bool IsPlainText(std::string_view bytes);

}  // namespace fulmar::ctl

#endif  // FULMAR_TOOLS_FULMARCTL_OUTPUT_H_
