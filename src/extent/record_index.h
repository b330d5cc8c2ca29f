// Which grains of a compressed extent have a record, and where it begins.
#pragma once

#include <cstdint>

#include <vmdk/result.h>

#include "extent/grain_entry.h"
#include "extent/grain_tables.h"

namespace vmdk {

// Any thread, inside an epoch of the cache.
class RecordIndex {
 public:
  RecordIndex() = default;
  RecordIndex(const RecordIndex&) = delete;
  RecordIndex& operator=(const RecordIndex&) = delete;
  virtual ~RecordIndex() = default;

  // A run of grains with one answer from `first`, at most `max_count` (> 0). kData: `sector` is
  // that of the first record. Requires: first is a grain of the extent.
  virtual Result<GrainRun> scan(std::uint64_t first, std::uint64_t max_count) = 0;
  virtual Result<GrainEntry> entry(std::uint64_t grain) = 0;
};

}  // namespace vmdk
