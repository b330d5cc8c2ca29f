// Writing to the top link: in place, or copy-on-write into new grains.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <vmdk/result.h>
#include <vmdk/units.h>

#include "disk/chain.h"
#include "disk/image.h"

namespace vmdk {

// Any thread. The caller has called Image::prepare_write() for the range and is inside an epoch.
class ChainWriter {
 public:
  explicit ChainWriter(const Chain& chain) noexcept : chain_(chain) {}

  Status write(DiskOffset at, std::span<const std::byte> from);

  // How much of a range one clear() takes: it ends inside one extent, splits no grain, and is so
  // short that the tables it makes dirty stay few. Requires: length > 0.
  std::uint64_t first_piece(DiskOffset at, std::uint64_t length) const;

  // Makes a range read as zeros; whole grains by their entry alone, the rest by writing zeros where
  // data shows. `frees` false: the image cannot hide its parent, so zeros are written everywhere
  // that data shows. Requires: the range is no longer than its first_piece().
  Status clear(DiskOffset at, std::uint64_t length, bool frees);

 private:
  struct Later {
    DiskOffset at;
    std::span<const std::byte> from;
  };

  Status write_pass(DiskOffset at, std::span<const std::byte> from, std::vector<Later>& later);
  Status write_run(Image::Part& part, DiskOffset at, std::span<const std::byte>& from,
                   std::vector<Later>& later);
  Status fill(Image::Part& part, Allocation& allocation, DiskOffset at,
              std::span<const std::byte> from);
  Result<std::span<const std::byte>> edge(Image::Part& part, ExtentOffset begin,
                                          std::uint64_t length, bool shows_parent, bool fresh,
                                          std::span<std::byte> room);
  Status clear_part(Image::Part& part, DiskOffset at, std::uint64_t length, bool frees);
  Status write_zeros(DiskOffset at, std::uint64_t length);

  const Chain& chain_;
};

}  // namespace vmdk
