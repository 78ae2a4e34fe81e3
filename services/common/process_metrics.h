#ifndef FULMAR_COMMON_PROCESS_METRICS_H_
#define FULMAR_COMMON_PROCESS_METRICS_H_

#include <vector>

#include "services/common/metrics.h"

namespace fulmar::common {

// The series that Prometheus' own dashboards expect of every process (process_cpu_seconds_total,
// process_resident_memory_bytes, process_virtual_memory_bytes, process_open_fds, process_max_fds, process_threads,
// process_start_time_seconds), read from /proc at each collection. They stay while the answer lives.
[[nodiscard]] std::vector<Metrics::Callback> AddProcessMetrics(Metrics& metrics);

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_PROCESS_METRICS_H_
