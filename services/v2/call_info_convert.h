#ifndef FULMAR_V2_CALL_INFO_CONVERT_H_
#define FULMAR_V2_CALL_INFO_CONVERT_H_

#include <grpcpp/server_context.h>

#include "services/v2/call_info.h"

namespace fulmar::v2edge {

// From the metadata of a call; the views live as long as `context`. Of a header that comes twice (Go repeats them when it sends again) the
// first counts.
CallInfo CallInfoOf(const grpc::ServerContextBase& context);

}  // namespace fulmar::v2edge

#endif  // FULMAR_V2_CALL_INFO_CONVERT_H_
