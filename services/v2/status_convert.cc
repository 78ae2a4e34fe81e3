#include "services/v2/status_convert.h"

#include <string>

#include "services/common/errors.h"

namespace fulmar::v2edge {

void SetStatus(const absl::Status& status, pb::Status* out) {
  out->set_code(static_cast<pb::Code>(V2CodeOf(status)));
  out->set_message(status.ok() ? "OK" : std::string(status.message()));
}

absl::Duration FromProto(const google::protobuf::Duration& duration) { return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos()); }

absl::Time FromProto(const google::protobuf::Timestamp& time) { return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()); }

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration out;
  out.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return out;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp out;
  const int64_t seconds = absl::ToUnixSeconds(time);
  out.set_seconds(seconds);
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return out;
}

}  // namespace fulmar::v2edge
