#include "disk/offline_open.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <vmdk/check.h>

namespace vmdk {

OpenOptions plain_options(const OpenOptions& said, Access access) {
  OpenOptions open = said;
  open.access = access;
  open.overlay.reset();
  open.layer.clear();
  open.salvage = false;
  open.share = false;
  open.ignore_cid = false;
  open.force_journal = false;
  return open;
}

OpenOptions options_of_parent(OpenOptions options, const std::filesystem::path& parent) {
  if (!options.parents.empty() && options.parents.front() == parent)
    options.parents.erase(options.parents.begin());
  return options;
}

bool is_unclean(const Disk& disk) {
  const DiskInfo info = disk.info();
  const auto& extents = info.layers.front().extents;
  return std::any_of(extents.begin(), extents.end(),
                     [](const ExtentInfo& extent) { return extent.unclean; });
}

Status end_unclean_session(FileSystem& file_system, const std::filesystem::path& image,
                           const OpenOptions& said) {
  CheckOptions check;
  check.repair = true;
  check.open = plain_options(said, Access::kReadWrite);
  check.open.force_children = true;
  ASSIGN_OR_RETURN(const CheckReport found, check_image(file_system, image, check));
  return found.failure ? Status(*found.failure) : Status{};
}

Result<std::unique_ptr<Disk>> open_parent_of(FileSystem& file_system, const Disk& disk,
                                             const OpenOptions& said) {
  const DiskInfo info = disk.info();
  if (info.layers.size() < 2)
    return std::unique_ptr<Disk>();
  const std::filesystem::path parent = info.layers[1].file;
  return Disk::open(file_system, parent,
                    options_of_parent(plain_options(said, Access::kReadOnly), parent));
}

Error with_next_run(Error error, std::string_view state, std::string_view verb) {
  const bool full = error.code() == ErrorCode::kNoSpace;
  return std::move(error).with_hint(
      fmt::format("{}: {}vmdkctl {} goes on", state, full ? "make room, and " : "", verb));
}

}  // namespace vmdk
