// Options that commands for topics and for groups share.
#include "absl/strings/str_cat.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"

namespace fulmar::ctl {

google::protobuf::Duration DurationProto(const std::string& text) {
  absl::Duration value, rest;
  absl::ParseDuration(text, &value);
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return proto;
}

void AddQuotaOptions(CLI::App& command, QuotaArguments& arguments, const std::string& what) {
  command.add_option("--quota-messages", arguments.messages, absl::StrCat("At most so many messages ", what, " in a second, on each shard; 0: no bound"));
  command.add_option("--quota-bytes", arguments.bytes, absl::StrCat("At most so many bytes ", what, " in a second, on each shard; 0: no bound"));
}

void FillQuota(const QuotaArguments& arguments, admin::v1::RateQuota& out) {
  if (arguments.messages) out.set_messages(*arguments.messages);
  if (arguments.bytes) out.set_bytes(*arguments.bytes);
}

std::string QuotaText(const admin::v1::RateQuota& quota) {
  if (quota.messages() == 0 && quota.bytes() == 0) return "none";
  return absl::StrCat(quota.messages() == 0 ? "any number of" : absl::StrCat(quota.messages()), " messages/s, ",
                      quota.bytes() == 0 ? "any number of bytes" : BytesText(quota.bytes()), "/s");
}

}  // namespace fulmar::ctl
