#ifndef FULMAR_REGISTRY_REGISTRY_CONVERT_H_
#define FULMAR_REGISTRY_REGISTRY_CONVERT_H_

#include "absl/status/statusor.h"
#include "fulmar/registry/v1/registry.pb.h"
#include "services/registry/route_table.h"

namespace fulmar::registry {

v1::Announcement ToProto(const Announcement& announcement);
// InvalidArgument: no shard name, an endpoint that does not parse, a lease out of 1 s .. 10 min, a damaged topic definition.
absl::StatusOr<Announcement> FromProto(const v1::Announcement& proto);

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_REGISTRY_CONVERT_H_
