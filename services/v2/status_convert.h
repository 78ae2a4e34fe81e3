#ifndef FULMAR_V2_STATUS_CONVERT_H_
#define FULMAR_V2_STATUS_CONVERT_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "apache/rocketmq/v2/definition.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace fulmar::v2edge {

namespace pb = ::apache::rocketmq::v2;

// Code and text of the protocol; an OK status says "OK".
void SetStatus(const absl::Status& status, pb::Status* out);

absl::Duration FromProto(const google::protobuf::Duration& duration);
absl::Time FromProto(const google::protobuf::Timestamp& time);
google::protobuf::Duration ToProto(absl::Duration duration);
google::protobuf::Timestamp ToProto(absl::Time time);

}  // namespace fulmar::v2edge

#endif  // FULMAR_V2_STATUS_CONVERT_H_
