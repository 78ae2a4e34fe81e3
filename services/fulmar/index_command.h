#ifndef FULMAR_FULMAR_INDEX_COMMAND_H_
#define FULMAR_FULMAR_INDEX_COMMAND_H_

#include "absl/status/status.h"
#include "services/fulmar/process_options.h"

namespace fulmar {

// `fulmar index rebuild`: for the broker's shard and the offset service as far as their logs lie in the data folder. Prints progress.
// Unavailable when a server has them open.
absl::Status RebuildIndexes(const ProcessOptions& options);

}  // namespace fulmar

#endif  // FULMAR_FULMAR_INDEX_COMMAND_H_
