#ifndef FULMAR_LOG_RECORD_H_
#define FULMAR_LOG_RECORD_H_

#include <cstdint>

namespace fulmar::log {

// What a record of a log is. Numbers are on disk: never reused, never changed; new ones are added at the end of their range.
// The body of each type is defined where it is applied (named in the comment). Bodies start with a version byte of their own.
enum class RecordType : uint8_t {
  // A broker shard's log (broker/records.h).
  kMessage = 1,          // one stored message
  kTopicCopy = 2,        // the shard's copy of a topic definition
  kTopicDeleted = 3,     // a topic is gone, its queues with it
  kGroupCopy = 4,        // the shard's copy of a consumer group definition
  kGroupDeleted = 5,
  kHandleKey = 6,        // a key for receipt handles
  kQueueCounters = 7,    // snapshot: next and minimum offset of a queue whose last message is about to be deleted
  kProgressBatch = 8,    // consumption progress, written here while the offset service is away
  // Held messages (broker/held_records.h).
  kHeldMessage = 9,      // a message that is in no queue yet: a timer or the first half of a transaction
  kHeldReleased = 10,    // it is in a queue from here on
  kHeldDropped = 11,     // it will never be: recalled, rolled back
  kHeldUpdated = 12,     // checks of a half message
  kDedupEntries = 13,    // snapshot: messages of dedup windows whose newest record is about to be removed (broker/dedup_index.h)

  // The offset service's log (offset/records.h).
  kTopicDefinition = 64,
  kTopicDefinitionDeleted = 65,
  kGroupDefinition = 66,
  kGroupDefinitionDeleted = 67,
  kClaim = 68,           // a shard leader's term at the offset service
  kProgress = 69,        // a batch of progress of one shard
  kDefinitionCounters = 70,  // snapshot: next topic id and last version, when their newest record is about to be removed
  kLedgerEntry = 71,     // the whole new state of one key of the consumption ledger (offset/ledger_records.h)
  kLedgerRemoved = 72,   // keys of the ledger that are gone
};

// When an append counts as done. Weaker modes only answer earlier; delivery always waits for durability and commit.
enum class Durability : uint8_t { kSync = 0, kAsync = 1 };

// Who asks: user records are refused first when space runs out; internal ones (acknowledgements, definitions, snapshots)
// go on from the preallocated reserve.
enum class AppendClass : uint8_t { kUser = 0, kInternal = 1 };

}  // namespace fulmar::log

#endif  // FULMAR_LOG_RECORD_H_
