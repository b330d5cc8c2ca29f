// Reads a disk of which nothing is known.
#pragma once

#include <cstddef>
#include <cstdint>

#include <vmdk/disk.h>

namespace vmdk::test {

struct ReadEffort {
  int runs = 64;                  // of the map
  std::size_t piece = 64 * kKiB;  // bytes of the beginning and the end of each run
};

// Whether all reads went well; a map that ends early counts as a failure. Aborts where the disk
// contradicts itself.
bool read_everything(Disk& disk, const ReadEffort& effort = {});

}  // namespace vmdk::test
