#include "services/v2/call_info_convert.h"

#include <grpc/support/time.h>

#include "absl/strings/ascii.h"

namespace fulmar::v2edge {
namespace {

std::string_view Header(const grpc::ServerContextBase& context, const char* name) {
  const auto& headers = context.client_metadata();
  const auto found = headers.find(name);
  if (found == headers.end()) return {};
  const absl::string_view value(found->second.data(), found->second.size());
  return absl::StripAsciiWhitespace(value);
}

absl::Duration Remaining(const grpc::ServerContextBase& context) {
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return absl::InfiniteDuration();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec);
}

}  // namespace

CallInfo CallInfoOf(const grpc::ServerContextBase& context) {
  return {.client_id = Header(context, "x-mq-client-id"),
          .name_space = Header(context, "x-mq-namespace"),
          .language = Header(context, "x-mq-language"),
          .remaining = Remaining(context)};
}

}  // namespace fulmar::v2edge
