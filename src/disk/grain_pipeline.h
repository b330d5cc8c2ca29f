// Reads a part of a disk grain by grain, and compresses it if wanted, with several threads; the
// results come in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include <vmdk/byte_source.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

struct GrainPipelineOptions {
  std::uint64_t grain_size = 64 * kKiB;  // bytes, a power of two, at most 1 MiB
  std::optional<int> level;              // deflates: the stream's records are made
  unsigned threads = 1;
  Progress progress;  // bytes of the range, on the calling thread
  std::function<bool()> interrupted;
};

// Neighbouring grains of the range; those that are all zeros are left out.
struct GrainBatch {
  struct Grain {
    std::uint64_t index = 0;  // in the range
    std::size_t at = 0;       // in `records` when deflated, else in `bytes`
    std::size_t length = 0;   // bytes
  };

  std::uint64_t begin = 0;       // bytes from the beginning of the range
  std::uint64_t length = 0;      // bytes of the range
  std::vector<std::byte> bytes;  // whole grains: zeros behind the end of the range
  std::vector<std::byte> records;
  std::vector<Grain> grains;  // ascending
};

// Calls `consume`, on the calling thread, for all batches of [begin, begin + length) that are not
// wholly holes, in order. Memory: a few MiB for each thread. EINTR when interrupted.
Status run_grain_pipeline(ByteSource& source, DiskOffset begin, std::uint64_t length,
                          const GrainPipelineOptions& options,
                          const std::function<Status(const GrainBatch& batch)>& consume);

}  // namespace vmdk
