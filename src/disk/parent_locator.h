// Finding the parent of an image.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "disk/image_text.h"
#include "disk/path_policy.h"

namespace vmdk {

struct FoundParent {
  std::filesystem::path path;
  std::unique_ptr<File> file;
  ImageText text;
  bool stale = false;  // its content id is not the one that is wanted, and that is let pass
};

// Looks, in this order, at: the next `--parent` file that was not used yet; the hint as it is, its
// bytes first and then, in another encoding, its text; a relative hint of Windows with slashes; the
// hint's last component beside the child (hints may be Windows or VMFS paths); that name in the
// `--search` folders. The first file whose content id is the wanted one is taken. Used by the
// thread that opens a disk.
class ParentLocator {
 public:
  ParentLocator(FileSystem& file_system, const PathPolicy& policy, const OpenOptions& options);

  // Requires: the descriptor has a parent CID. kNotFound lists the places; kStaleParent when only
  // files with another content id are there. What this machine has no room for (EMFILE) ends the
  // search: the file that could not be looked at may be the one.
  Result<FoundParent> find(const std::filesystem::path& child, const Descriptor& descriptor);

 private:
  struct Place {
    std::filesystem::path path;
    bool named_by_user = false;
  };

  std::vector<Place> places(const std::filesystem::path& child, const Descriptor& descriptor);
  Result<std::unique_ptr<File>> open(const Place& place, const std::filesystem::path& child) const;

  FileSystem& file_system_;
  const PathPolicy& policy_;
  const OpenOptions& options_;
  std::size_t next_given_ = 0;  // of options_.parents
};

}  // namespace vmdk
