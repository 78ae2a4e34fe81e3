#ifndef FULMAR_BROKER_MESSAGE_CONVERT_H_
#define FULMAR_BROKER_MESSAGE_CONVERT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/broker/body_digest.h"
#include "services/broker/shard.h"
#include "services/broker/wire_walk.h"
#include "services/common/bytes.h"
#include "services/v2/call_info.h"

namespace fulmar::broker {

// What the protocol promises to users; see docs/limits in the README of this folder.
struct MessageLimits {
  size_t max_body_bytes = 4 * 1024 * 1024;
  size_t max_messages = 1024;              // per SendMessage
  size_t max_properties = 128;
  size_t max_property_bytes = 16 * 1024;   // keys and values of properties, tag and keys together
  size_t max_message_group_bytes = 63;
  size_t max_message_id_bytes = 1024;
  absl::Duration max_delay = absl::Hours(24) * 3650;
  absl::Duration max_recovery = absl::Hours(1);
};

// Checks a SendMessage in the order of the protocol's reference and makes of it what the shard stores. Each message gets the MD5 of its
// body, born now and unpacked where it says nothing else.
// Errors: the v2 one of the first check that fails; nothing of a request is stored then.
absl::StatusOr<SendCommand> ToSendCommand(const wire::SendRequest& request, const v2edge::CallInfo& call, const MessageLimits& limits,
                                          BodyDigester& digester, absl::Time now);

// v2 number of the type that a message really has: what it asks for decides, whatever it says, so that nothing special is stored as normal.
uint8_t TypeOf(const wire::MessageFields& message);

// Bytes on their way out: `head`, then `body`.
struct OutBytes {
  std::string head;
  common::SharedBytes body;
  std::string Flat() const { return head + std::string(body.view()); }
};

// Who gets a delivery: the topic is shown to a client as the client names it.
struct DeliveryTarget {
  std::string name_space, topic;
  std::string_view store_host;
};
// A v2 Message inside field `content_field` of a response, by concatenation. `view` is the parsed `delivered.record`.
OutBytes EncodeDelivery(uint32_t content_field, const MessageView& view, const Delivered& delivered, const DeliveryTarget& target);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGE_CONVERT_H_
