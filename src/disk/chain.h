// The links of a disk, topmost first: opening them, reading through them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "disk/image.h"

namespace vmdk {

// Links deeper than this are taken for a mistake.
inline constexpr std::size_t kMaxChainDepth = 64;

class Chain {
 public:
  static Result<std::unique_ptr<Chain>> open(FileSystem& file_system,
                                             const std::filesystem::path& image,
                                             const OpenContext& context);
  // As far as the chain can be followed. Only the image itself must be there: what ends the chain
  // before its base goes to `broken`.
  static Result<std::unique_ptr<Chain>> open_what_is_there(FileSystem& file_system,
                                                           const std::filesystem::path& image,
                                                           const OpenContext& context,
                                                           std::optional<Error>& broken);

  Image& top() const noexcept { return *images_.front(); }

  const std::vector<std::unique_ptr<Image>>& images() const noexcept { return images_; }

  bool has_parent() const noexcept { return images_.size() > 1; }

  // Fills `into` with the disk as link `level` (0: the top) and those beneath it show it; zeros
  // behind the end of a shorter parent. Sets *shows_data (may be null) when any byte came from a
  // file. The caller is inside an epoch. No lock.
  Status read(std::size_t level, DiskOffset at, std::span<std::byte> into, bool* shows_data) const;

  // The longest stretch at `at` with one answer. The caller is inside an epoch.
  Result<MapRun> map(std::size_t level, DiskOffset at, std::uint64_t max_length) const;

 private:
  Status open_links(FileSystem& file_system, const std::filesystem::path& image,
                    const OpenContext& context);

  struct Piece;
  static void add_piece(const Piece& piece, std::vector<Piece>& pieces);
  Status collect(std::size_t level, DiskOffset at, std::span<std::byte> into,
                 std::vector<Piece>& pieces) const;

  std::vector<std::unique_ptr<Image>> images_;
};

}  // namespace vmdk
