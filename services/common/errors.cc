#include "services/common/errors.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace fulmar {
namespace {

// The payload holds the number in decimal, so that it can also be read in a dump of the status.
constexpr std::string_view kV2CodeUrl = "fulmar/v2-code";

absl::Status MakeError(absl::StatusCode code, int v2_code, std::string_view message) {
  absl::Status status(code, message);
  status.SetPayload(kV2CodeUrl, absl::Cord(absl::StrCat(v2_code)));
  return status;
}

int V2CodeOfAbslCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk: return kV2Ok;
    case absl::StatusCode::kResourceExhausted: return 42900;
    case absl::StatusCode::kNotFound: return 40400;
    case absl::StatusCode::kUnavailable: return 50002;
    case absl::StatusCode::kUnimplemented: return 50100;
    case absl::StatusCode::kInvalidArgument: return 40000;
    default: return 50001;
  }
}

}  // namespace

namespace errors {
#define FULMAR_DEFINE_ERROR(name, absl_code, v2_name, v2_number, retry)       \
  absl::Status name(std::string_view message) {                               \
    return MakeError(absl::StatusCode::k##absl_code, v2_number, message);     \
  }
FULMAR_ERRORS(FULMAR_DEFINE_ERROR)
#undef FULMAR_DEFINE_ERROR
}  // namespace errors

int V2CodeOf(const absl::Status& status) {
  if (status.ok()) return kV2Ok;
  const absl::optional<absl::Cord> payload = status.GetPayload(kV2CodeUrl);
  int v2_code = 0;
  if (payload.has_value() && absl::SimpleAtoi(std::string(*payload), &v2_code)) return v2_code;
  return V2CodeOfAbslCode(status.code());
}

std::string_view V2CodeName(int v2_code) {
  switch (v2_code) {
    case kV2Ok: return "OK";
    case kV2MultipleResults: return "MULTIPLE_RESULTS";
#define FULMAR_NAME_ERROR(name, absl_code, v2_name, v2_number, retry) \
  case v2_number: return #v2_name;
      FULMAR_ERRORS(FULMAR_NAME_ERROR)
#undef FULMAR_NAME_ERROR
    default: return "CODE_UNSPECIFIED";
  }
}

Retry RetryOf(const absl::Status& status) {
  switch (V2CodeOf(status)) {
#define FULMAR_RETRY_OF_ERROR(name, absl_code, v2_name, v2_number, retry) \
  case v2_number: return Retry::retry;
    FULMAR_ERRORS(FULMAR_RETRY_OF_ERROR)
#undef FULMAR_RETRY_OF_ERROR
    default: return Retry::kNo;
  }
}

}  // namespace fulmar
