#ifndef FULMAR_COMMON_GRPC_RPC_BYTES_H_
#define FULMAR_COMMON_GRPC_RPC_BYTES_H_

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>

#include "services/common/grpc/cq_executor.h"

// What both ends of a call over the completion queue need.
namespace fulmar::common {

// A generated message as gRPC sends it.
template <class Message>
grpc::ByteBuffer ToBytes(const Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  (void)grpc::SerializationTraits<Message>::Serialize(message, &bytes, &own);
  return bytes;
}

// False: these are no such message. `bytes` is empty afterwards.
template <class Message>
bool FromBytes(grpc::ByteBuffer& bytes, Message& message) {
  return bytes.Valid() && grpc::SerializationTraits<Message>::Deserialize(&bytes, &message).ok();
}

// The tag of one kind of operation of an object: its end is a call of that object's method, which may delete the object.
template <class Owner, void (Owner::*kReaction)(bool ok)>
class OpTag final : public CqTag {
 public:
  explicit OpTag(Owner& owner) : owner_(owner) {}
  void Run(bool ok) override { (owner_.*kReaction)(ok); }

 private:
  Owner& owner_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_RPC_BYTES_H_
