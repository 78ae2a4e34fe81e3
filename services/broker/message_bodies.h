#ifndef FULMAR_BROKER_MESSAGE_BODIES_H_
#define FULMAR_BROKER_MESSAGE_BODIES_H_

#include <optional>

#include "services/broker/shard_context.h"
#include "services/common/bytes.h"
#include "services/index/queue_index.h"

// The message record behind an entry of a queue. For a message that was held, the entry leads to the record that released it; its bytes lie
// where the index says, and get the place and the time of the release here.
namespace fulmar::broker {

// When its entry of the log is still in memory.
std::optional<common::SharedBytes> TryReadMessage(ShardContext& context, index::QueueId queue, const index::QueueEntry& entry);
// As ReplicatedLog::Read(); NotFound also when the body of a held message is gone.
void ReadMessage(ShardContext& context, index::QueueId queue, const index::QueueEntry& entry, log::ReplicatedLog::ReadDone done);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGE_BODIES_H_
