#ifndef FULMAR_INDEX_ROCKS_OPTIONS_H_
#define FULMAR_INDEX_ROCKS_OPTIONS_H_

#include "absl/status/status.h"
#include "rocksdb/options.h"
#include "rocksdb/status.h"
#include "services/index/rocks_kv.h"

namespace fulmar::index {

// How RocksDB is set up as an index of a log; each choice has its reason beside it.
rocksdb::Options MakeRocksOptions(const RocksKvOptions& options);

// ENOSPC is ResourceExhausted, damage DataLoss, a held lock Unavailable; the text names `what`.
absl::Status FromRocks(const rocksdb::Status& status, const std::string& what);

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_ROCKS_OPTIONS_H_
