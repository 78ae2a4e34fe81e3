#ifndef FULMAR_COMMON_GRPC_REFLECTION_HANDLER_H_
#define FULMAR_COMMON_GRPC_REFLECTION_HANDLER_H_

#include <memory>
#include <string>
#include <vector>

#include "services/common/grpc/rpc_service.h"

namespace fulmar::common {

// The services grpc.reflection.v1 and v1alpha: what tools such as grpcurl ask to find out what is served here. Own ones, because the library
// has v1alpha only, and leaves out the names that fields have in JSON.
// `names` is asked at each list_services and outlives the services.
std::unique_ptr<RpcService> MakeReflectionV1(const std::vector<std::string>& names);
std::unique_ptr<RpcService> MakeReflectionV1Alpha(const std::vector<std::string>& names);

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_REFLECTION_HANDLER_H_
