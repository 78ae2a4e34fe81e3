#ifndef FULMAR_BROKER_WIRE_REPLIES_H_
#define FULMAR_BROKER_WIRE_REPLIES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/broker/shard.h"

// The answers of the hot methods, written straight as protobuf bytes.
namespace fulmar::broker::wire {

// One code for all: the common one, or MULTIPLE_RESULTS where they differ.
int CommonCode(const std::vector<absl::Status>& statuses);

// A response whose field `field` is the v2 Status of `status`, and nothing else. All responses have it in field 1.
std::string EncodeStatus(const absl::Status& status, uint32_t field = 1);

std::string EncodeSendResponse(const absl::StatusOr<std::vector<SendOutcome>>& outcome);
std::string EncodeAckResponse(const std::vector<AckEntry>& entries, const absl::StatusOr<std::vector<absl::Status>>& outcome);
// The last part of a receive: when the server let go of the batch.
std::string EncodeDeliveryTime(absl::Time time);

}  // namespace fulmar::broker::wire

#endif  // FULMAR_BROKER_WIRE_REPLIES_H_
