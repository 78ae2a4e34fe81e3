// Whatever the bytes are, the walk stays inside them and ends, and what it takes is text that every client can read.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/broker/message_convert.h"
#include "services/broker/wire_walk.h"
#include "services/common/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulmar::broker;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);

  wire::SendRequest send;
  if (wire::ParseSendRequest(bytes, send)) {
    static BodyDigester digester;
    const absl::StatusOr<SendCommand> command = ToSendCommand(send, {.client_id = "c"}, MessageLimits(), digester, absl::UnixEpoch());
    if (command.ok()) {
      for (const NewMessage& message : command->messages) {
        FULMAR_CHECK(ParseMessageRecord(message.record).ok());
        FULMAR_CHECK(wire::IsUtf8(message.message_id));
      }
    }
  }
  wire::ReceiveRequest receive;
  if (wire::ParseReceiveRequest(bytes, receive)) FULMAR_CHECK(wire::IsUtf8(receive.filter) && wire::IsUtf8(receive.group.name));
  wire::AckRequest ack;
  if (wire::ParseAckRequest(bytes, ack))
    for (const wire::AckEntryView& entry : ack.entries) FULMAR_CHECK(wire::IsUtf8(entry.receipt_handle));
  return 0;
}
