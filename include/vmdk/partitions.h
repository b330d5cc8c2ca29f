// The partitions of a disk, by the table that stands on it: MBR with logical partitions, or GPT.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

enum class PartitionTableKind { kNone, kMbr, kGpt };

// "none", "mbr", "gpt".
std::string to_string(PartitionTableKind kind);

struct Partition {
  unsigned number = 0;       // as Linux and fdisk count: from 1; logical ones of an MBR from 5
  DiskOffset begin;          // a multiple of 512
  std::uint64_t length = 0;  // bytes, not 0; inside the disk
  std::string type;          // "0x83", or the GUID of a GPT's
  std::string id;            // GPT: the GUID of its own
  std::string name;          // GPT: UTF-8, may be empty and may hold any character
  bool active = false;       // MBR: the one to boot from
  bool extended = false;     // MBR: has no bytes of its own, logical ones lie in it
};

struct PartitionTable {
  PartitionTableKind kind = PartitionTableKind::kNone;
  std::uint64_t sector_size = kSectorSize;  // bytes: what the table counts in, 512 or 4096
  std::vector<Partition> partitions;        // in the order of their numbers
  std::vector<std::string> warnings;        // what is wrong with the table
};

inline constexpr std::size_t kMaxPartitions = 256;

// Reads the table. One that contradicts itself is not half believed: what cannot be right is left
// out, and a warning says so. Errors are those of reading the disk. Reads at most a few MiB and
// keeps at most kMaxPartitions, whatever the table says. Any thread.
Result<PartitionTable> read_partition_table(Disk& disk);

}  // namespace vmdk
