#ifndef FULMAR_OFFSET_OFFSET_CONVERT_H_
#define FULMAR_OFFSET_OFFSET_CONVERT_H_

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fulmar/offset/v1/offset.pb.h"
#include "services/index/ports.h"

// Between fulmar.offset.v1 and the structs of the core.
namespace fulmar::offset {

v1::WatchDefinitionsResponse ToProto(const index::DefinitionEvent& event);
// DataLoss: not an event that we know.
absl::StatusOr<index::DefinitionEvent> FromProto(const v1::WatchDefinitionsResponse& proto);

// The status of a call; the v2 code, where `status` has one, goes into the trailing metadata of `call`.
grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase& call);
// The other way, when the call has ended.
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& call);

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_OFFSET_CONVERT_H_
