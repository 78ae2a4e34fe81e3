#ifndef FULMAR_COMMON_SIM_SIM_INODE_H_
#define FULMAR_COMMON_SIM_SIM_INODE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "services/common/random.h"

namespace fulmar::sim {

// The bytes of one file of SimFiles, twice: as read now, and as the disk has them; and which ranges differ.
class SimInode {
 public:
  const std::string& current() const { return current_; }
  const std::string& durable() const { return durable_; }

  void Write(uint64_t offset, std::string_view data);
  void Resize(uint64_t size);
  // What was written since the last one is on the disk.
  void Sync();
  // The kernel has tried and given up: those bytes are no longer on their way to the disk.
  void FailSync();

  // Only the disk is left; what was unsynced is there in part. Afterwards both views are the same.
  void LosePower(common::Random& random);

  // Damage: both views change.
  void FlipBit(uint64_t offset, int bit);
  void Cut(uint64_t size);

 private:
  // Disjoint ranges, begin -> end.
  using Ranges = std::map<uint64_t, uint64_t>;
  static void AddRange(Ranges& ranges, uint64_t begin, uint64_t end);
  void KeepSomeSectors(uint64_t begin, uint64_t end, common::Random& random);

  std::string current_;
  std::string durable_;
  Ranges dirty_;            // to be written by the next Sync()
  Ranges given_up_;         // differ from the disk, but a failed sync has made them look clean
  bool resized_ = false;    // the size of current_ is not durable
};

}  // namespace fulmar::sim

#endif  // FULMAR_COMMON_SIM_SIM_INODE_H_
