// Fills a new sparse extent with what a disk shows in a part of it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "disk/grain_pipeline.h"
#include "disk/sparse_writer.h"
#include "format/sparse_header.h"

namespace vmdk {

// For one thread. Only what the image of the disk has itself is taken; grains that are all zeros
// are left out where the image beneath, if there is one, shows zeros too, and stated to be zeros
// or, in an extent that cannot say so, kept where it shows something. Blocks of zeros in a grain
// are holes of the file.
class ExtentFiller {
 public:
  // `beneath`: what the new extent will be over; null: nothing. `interrupted` may be empty.
  ExtentFiller(Disk& disk, Disk* beneath, std::function<bool()> interrupted)
      : disk_(disk), beneath_(beneath), interrupted_(std::move(interrupted)) {}

  // [begin, begin + length) of the disk goes to the beginning of the extent, which
  // lay_down_new_file() has put into the file. Not synced. `progress`: bytes of the disk; may be
  // empty.
  Status fill(File& file, const SparseLayout& layout, DiskOffset begin, std::uint64_t length,
              const Progress& progress);

 private:
  struct Grain {
    bool own = false;   // the image has something there
    bool data = false;  // of which not all is stated to be zeros
  };

  Status fill_piece(SparseWriter& writer, const SparseHeader& header, DiskOffset begin,
                    std::uint64_t at, std::uint64_t length);
  Status look_at_grains(DiskOffset at, std::uint64_t length, std::uint64_t grain_bytes);
  Status read_grains(DiskOffset at, std::uint64_t length, std::uint64_t grain_bytes);
  Result<bool> shows_zeros_beneath(DiskOffset at, std::uint64_t length);

  Disk& disk_;
  Disk* const beneath_;
  const std::function<bool()> interrupted_;
  std::vector<Grain> grains_;  // of the present piece
  GrainBatch batch_;
};

}  // namespace vmdk
