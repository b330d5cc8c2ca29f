// Fills a new sparse extent from its first grain to its last: grains one behind the other, each
// table once, when its last grain is written.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>

#include "disk/grain_pipeline.h"
#include "format/sparse_header.h"

namespace vmdk {

// What becomes of blocks of the host's file system, in grains with data, that are all zeros.
enum class ZeroBlocks { kWritten, kHoles };

// For one thread, and a file that nobody else can see: nothing is durable before the caller syncs
// it. add() for all batches in order, end().
class SparseWriter {
 public:
  // The file holds what lay_down_new_file() has put there.
  SparseWriter(File& file, const SparseLayout& layout,
               ZeroBlocks zero_blocks = ZeroBlocks::kWritten);

  // Grains as they are.
  Status add(const GrainBatch& batch);
  // One that the table states to be zeros. Requires: the extent has zeroed grains, and nothing of a
  // later table was added.
  Status add_zeroed(std::uint64_t index);

  Status end();

 private:
  // `table` is the one that is being filled from now on.
  Status go_to(std::uint64_t table);
  Status end_table();
  // Writes parts_ from there on.
  Status write_around_zeros(FileOffset at);

  File& file_;
  const SparseLayout& layout_;
  std::uint64_t next_;       // sector of the file where the next grain goes
  std::uint64_t table_ = 0;  // number of the one that is being filled
  bool table_used_ = false;  // it has an entry
  std::vector<std::byte> entries_;
  std::vector<iovec> parts_;
  std::vector<iovec> run_;  // of them, without a block of zeros
  const ZeroBlocks zero_blocks_;
};

}  // namespace vmdk
