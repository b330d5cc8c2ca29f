// The links of a disk, topmost first: opening them, reading through them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "disk/image.h"

namespace vmdk {

// Links deeper than this are taken for a mistake.
inline constexpr std::size_t kMaxChainDepth = 64;

// The file of a link, opened: of the first as context.options.access says, of the others for
// reading.
struct LinkFile {
  std::filesystem::path path;
  std::unique_ptr<File> file;
  bool unnamed = false;  // no other program can know of it
};

class Chain {
 public:
  static Result<std::unique_ptr<Chain>> open(FileSystem& file_system, LinkFile top,
                                             const OpenContext& context);
  // As far as the chain can be followed. Only the image itself must be there: what ends the chain
  // before its base goes to `broken`.
  static Result<std::unique_ptr<Chain>> open_what_is_there(FileSystem& file_system, LinkFile top,
                                                           const OpenContext& context,
                                                           std::optional<Error>& broken);

  // Makes an older link the top: `layer` is its number, counted from the base, which is 0, "base",
  // or the name of its file. kInvalidArgument, with the links that there are, when it is none of
  // them. Requires: nothing was read yet.
  Status show_layer(std::string_view layer);

  Image& top() const noexcept { return *images_.front(); }

  const std::vector<std::unique_ptr<Image>>& images() const noexcept { return images_; }

  bool has_parent() const noexcept { return images_.size() > 1 || lost_parent_; }

  // Why the last link's parent is not here, in a chain that was opened to salvage: what lies there
  // reads as an error.
  const std::optional<Error>& lost_parent() const noexcept { return lost_parent_; }

  // Fills `into` with the disk as link `level` (0: the top) and those beneath it show it; zeros
  // behind the end of a shorter parent. Sets *shows_data (may be null) when any byte came from a
  // file. The caller is inside an epoch. No lock.
  Status read(std::size_t level, DiskOffset at, std::span<std::byte> into, bool* shows_data) const;

  // The longest stretch at `at` with one answer. The caller is inside an epoch.
  Result<MapRun> map(std::size_t level, DiskOffset at, std::uint64_t max_length) const;

  // The same of link `level` alone: what it leaves to those beneath it is kHole. Requires: `at` is
  // inside it.
  Result<MapRun> map_link(std::size_t level, DiskOffset at, std::uint64_t max_length) const;

 private:
  Status open_links(FileSystem& file_system, LinkFile top, const OpenContext& context);
  Status open_all_links(FileSystem& file_system, LinkFile next, const OpenContext& context);
  Status require_no_loop(const std::filesystem::path& path, FileId id) const;
  bool can_do_without(const Error& error, const OpenContext& context) const noexcept;

  struct Piece;
  static void add_piece(const Piece& piece, std::vector<Piece>& pieces);
  Status collect(std::size_t level, DiskOffset at, std::span<std::byte> into,
                 std::vector<Piece>& pieces) const;

  Result<std::size_t> find_layer(std::string_view layer) const;
  std::string list_layers() const;

  std::vector<std::unique_ptr<Image>> images_;
  // Those above the layer that is shown; they keep their locks, so that the chain stays what it is.
  std::vector<std::unique_ptr<Image>> newer_;
  std::optional<Error> lost_parent_;
};

}  // namespace vmdk
