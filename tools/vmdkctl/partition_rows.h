// What `vmdkctl info --partitions` says.
#pragma once

#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/result.h>

#include "vmdkctl/output.h"

namespace vmdkctl {

// The table of a disk, and what its parts hold.
struct PartitionFacts {
  Json json;                       // an object: partitionTable, partitions and more
  std::vector<std::string> lines;  // the same for people
};

// What is wrong with the table, or cannot be read of a part, is in both.
vmdk::Result<PartitionFacts> partition_facts(vmdk::Disk& disk);

}  // namespace vmdkctl
