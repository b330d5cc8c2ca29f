#include "disk/write_guards.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disk/content_ids.h"
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

// Where the children of an image are looked for: its folder, and that of the name it was opened by.
class ChildSearch {
 public:
  ChildSearch(FileSystem& file_system, const fs::path& image, const Descriptor& descriptor,
              const std::optional<FileId>& except)
      : file_system_(file_system),
        descriptor_(descriptor),
        image_(image),
        name_(image.filename().native()),
        real_name_(real_path(image).filename().native()),
        except_(except) {}

  // The name of one; empty: there is none. `self`: the image's own name there.
  Result<std::string> find_in(const fs::path& folder, const std::string& self) {
    const auto names = file_system_.list(folder);
    // A folder that may be searched but not listed shows no children.
    if (!names && names.error().code() == ErrorCode::kDenied)
      return std::string();
    if (!names)
      return names.error();
    for (const std::string& name : *names) {
      if (name == self)
        continue;
      ASSIGN_OR_RETURN(const bool child, is_child(folder, name));
      if (child)
        return name;
    }
    return std::string();
  }

 private:
  // What may not be read, or is no image, is no child. What cannot be read may be one, by its name;
  // an overlay may have any.
  Result<bool> is_child(const fs::path& folder, const std::string& name) {
    const auto answer_of = [&](const Error& error) -> Result<bool> {
      return error.code() == ErrorCode::kIo && ends_with_vmdk(name) ? Result<bool>(error) : false;
    };
    const auto file = file_system_.open_beneath(folder, name, Access::kReadOnly);
    if (!file)
      return answer_of(file.error());
    if ((*file)->id() == except_)
      return false;
    const auto text = read_image_text(**file);
    if (!text)
      return answer_of(text.error());
    if (match_parent(text->descriptor, descriptor_) == ParentMatch::kOther)
      return false;
    // The image by another name, a loop: it is told where the chain is opened.
    if (is_image(**file))
      return false;
    const std::string hint = base_name(text->descriptor.in_utf8(text->descriptor.parent_hint()));
    return hint == real_name_ || hint == name_ || leads_to_image(folder, hint);
  }

  // By another name, a link: only one in the folder, as an image has no other places looked at.
  bool leads_to_image(const fs::path& folder, const std::string& hint) {
    if (hint.empty())
      return false;
    if (real_path(folder / hint) == real_path(image_))
      return true;
    const auto there = file_system_.open_beneath(folder, hint, Access::kReadOnly);
    if (!there)
      return false;
    return is_image(**there);
  }

  bool is_image(const File& file) {
    const auto own = file_system_.open(image_, Access::kReadOnly);
    return own && (*own)->id() == file.id();
  }

  FileSystem& file_system_;
  const Descriptor& descriptor_;
  const fs::path image_;
  const std::string name_;
  const std::string real_name_;
  const std::optional<FileId> except_;
};

// Whether the image has children is not known.
Error children_unknown(const fs::path& image, Error error) {
  return std::move(error)
      .with_context(fmt::format("{}: not opened for writing: looking for its snapshots failed",
                                image.native()))
      .with_hint("-r mounts it read-only; --force=children writes to it whether it has any or not");
}

// What holds the lock, the name of a file; empty: nothing does.
Result<std::string> vmware_lock(FileSystem& file_system, const fs::path& file) {
  const fs::path lock = file.native() + ".lck";
  const auto names = file_system.list(lock);
  // A name that the system has no room for is nobody's.
  if (!names &&
      (names.error().errno_value() == ENOENT || names.error().errno_value() == ENAMETOOLONG))
    return std::string();
  if (!names && names.error().errno_value() == ENOTDIR)
    return lock.native();
  // A folder that cannot be looked into may well hold one.
  if (!names)
    return names.error();
  const auto found = std::find_if(names->begin(), names->end(), [](const std::string& name) {
    return name.starts_with('M') && name.ends_with(".lck");
  });
  return found != names->end() ? (lock / *found).native() : std::string();
}

Status require_no_vmware_lock(FileSystem& file_system, const fs::path& file) {
  auto holder = vmware_lock(file_system, file);
  if (!holder)
    return std::move(holder)
        .error()
        .with_context(fmt::format("{}: not opened for writing: whether a VMware product uses it is "
                                  "not known",
                                  file.native()))
        .with_hint("-r mounts it read-only; --force=stale-lck when no program uses the disk");
  if (holder->empty())
    return {};
  return Error::make(ErrorCode::kBusy, fmt::format("{}: in use by a VMware product: {} is there",
                                                   file.native(), *holder))
      .with_hint(
          "stop the virtual machine; --force=stale-lck when no program uses the disk any more");
}

}  // namespace

Status lock_for_writing(File& file) {
  auto locked = file.lock(LockMode::kWrite);
  return locked || locked.error().code() == ErrorCode::kUnsupported ? Status{} : locked;
}

Status require_no_vmware_locks(FileSystem& file_system, const fs::path& image,
                               const Descriptor& descriptor) {
  RETURN_IF_ERROR(require_no_vmware_lock(file_system, image));
  for (const ExtentLine& line : descriptor.extents())
    RETURN_IF_ERROR(require_no_vmware_lock(
        file_system, folder_of(image) / base_name(descriptor.in_utf8(line.file_name))));
  return {};
}

Status require_no_children(FileSystem& file_system, const fs::path& image,
                           const Descriptor& descriptor, const std::optional<FileId>& except) {
  const fs::path real = real_path(image);
  std::vector<fs::path> ways{real};
  if (fs::path named = real_path(folder_of(image)); named != folder_of(real))
    ways.push_back(std::move(named) / image.filename());
  ChildSearch search(file_system, image, descriptor, except);
  for (const fs::path& way : ways) {
    const auto child = search.find_in(folder_of(way), way.filename().native());
    if (!child)
      return children_unknown(image, child.error());
    if (child->empty())
      continue;
    return Error::make(
               ErrorCode::kBusy,
               fmt::format("{}: not opened for writing: {} is a snapshot of it, and writing "
                           "to a parent makes its snapshots unreadable",
                           image.native(), *child))
        .with_hint(fmt::format("mount {}, or -r, or --overlay=FILE, or --force=children", *child));
  }
  return {};
}

}  // namespace vmdk
