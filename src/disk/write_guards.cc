#include "disk/write_guards.h"

#include <algorithm>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "disk/path_policy.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

bool ends_with_vmdk(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return name.ends_with(".vmdk");
}

bool is_child_of(FileSystem& file_system, const fs::path& folder, const std::string& name,
                 const std::string& parent, std::uint32_t parent_cid) {
  const auto file = file_system.open_beneath(folder, name, Access::kReadOnly);
  if (!file)
    return false;
  const auto text = read_image_text(**file);
  return text && text->descriptor.parent_cid() == parent_cid &&
         base_name(text->descriptor.in_utf8(text->descriptor.parent_hint())) == parent;
}

Status require_no_vmware_lock(FileSystem& file_system, const fs::path& file) {
  const fs::path lock = file.native() + ".lck";
  std::string holder;
  switch (file_system.kind(lock)) {
    case FileSystem::Kind::kFile:
      holder = lock.native();
      break;
    case FileSystem::Kind::kDirectory: {
      ASSIGN_OR_RETURN(const auto names, file_system.list(lock));
      const auto found = std::find_if(names.begin(), names.end(), [](const std::string& name) {
        return name.starts_with('M') && name.ends_with(".lck");
      });
      if (found == names.end())
        return {};
      holder = (lock / *found).native();
      break;
    }
    default:
      return {};
  }
  return Error::make(ErrorCode::kBusy, fmt::format("{}: in use by a VMware product: {} is there",
                                                   file.native(), holder))
      .with_hint(
          "stop the virtual machine; --force=stale-lck when no program uses the disk any more");
}

}  // namespace

Status require_no_vmware_locks(FileSystem& file_system, const fs::path& image,
                               const Descriptor& descriptor) {
  RETURN_IF_ERROR(require_no_vmware_lock(file_system, image));
  for (const ExtentLine& line : descriptor.extents())
    RETURN_IF_ERROR(require_no_vmware_lock(
        file_system, folder_of(image) / base_name(descriptor.in_utf8(line.file_name))));
  return {};
}

Status require_no_children(FileSystem& file_system, const fs::path& image,
                           const Descriptor& descriptor) {
  const fs::path folder = folder_of(image);
  const std::string self = image.filename().native();
  const auto names = file_system.list(folder);
  if (!names)
    return {};  // a folder that may be searched but not listed shows no children
  for (const std::string& name : *names) {
    if (name == self || !ends_with_vmdk(name) ||
        !is_child_of(file_system, folder, name, self, descriptor.cid()))
      continue;
    return Error::make(
               ErrorCode::kBusy,
               fmt::format("{}: not opened for writing: {} is a snapshot of it, and writing "
                           "to a parent makes its snapshots unreadable",
                           image.native(), name))
        .with_hint(fmt::format("mount {}, or -r, or --overlay=FILE, or --force=children", name));
  }
  return {};
}

}  // namespace vmdk
