#include "disk/file_registry.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace vmdk {
namespace {

LockMode lock_mode(Access access, bool share) noexcept {
  if (access == Access::kReadWrite)
    return LockMode::kWrite;
  return share ? LockMode::kReadBesideWriter : LockMode::kRead;
}

}  // namespace

bool FileRegistry::holds(FileId id) const noexcept {
  return std::any_of(files_.begin(), files_.end(),
                     [&](const auto& file) { return file->file().id() == id; });
}

Result<OpenFile*> FileRegistry::adopt(std::unique_ptr<File> file, Access access) {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_[i]->file().id() != file->id())
      continue;
    // Also when the writable handle would do: a parent that is changed through its child would
    // not be what its tables in memory say.
    if (access != accesses_[i])
      return Error::make(ErrorCode::kCorrupt,
                         fmt::format("{}: named twice in the chain, once for reading only and once "
                                     "for writing",
                                     file->name()))
          .with_hint("-r mounts it read-only");
    return files_[i].get();
  }
  if (auto locked = file->lock(lock_mode(access, share_)); !locked) {
    if (locked.error().code() != ErrorCode::kUnsupported)
      return std::move(locked).error();
    log_(LogLevel::kWarning,
         fmt::format("{}: the file system has no locks: nothing keeps other programs from the file",
                     file->name()));
  }
  ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
  files_.push_back(std::make_unique<OpenFile>(std::move(file)));
  accesses_.push_back(access);
  sizes_.push_back(size);
  return files_.back().get();
}

Status FileRegistry::require_unchanged(std::string_view done) const {
  for (std::size_t i = 0; !share_ && i < files_.size(); ++i) {
    ASSIGN_OR_RETURN(const std::uint64_t size, files_[i]->file().size());
    if (size != sizes_[i])
      return Error::make(ErrorCode::kBusy,
                         fmt::format("{}: changed while it was being {}: it had {} bytes, and has "
                                     "{} now",
                                     files_[i]->name(), done, sizes_[i], size))
          .with_hint(
              "end the program that writes to it, and try again; -r --share reads beside it");
  }
  return {};
}

Status FileRegistry::note_lengths() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    ASSIGN_OR_RETURN(sizes_[i], files_[i]->file().size());
  }
  return {};
}

Status FileRegistry::require_in_place(FileSystem& file_system) const {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (accesses_[i] != Access::kReadWrite)
      continue;
    const File& file = files_[i]->file();
    const auto there = file_system.open(file.name(), Access::kReadOnly);
    if (there && (*there)->id() == file.id())
      continue;
    // A device is none that can be opened so, and has its place anyway.
    if (!there && there.error().code() == ErrorCode::kUnsupported)
      continue;
    if (!there && there.error().code() != ErrorCode::kNotFound)
      return there.error();
    return Error::make(ErrorCode::kBusy,
                       fmt::format("{}: was replaced by another program while it was being opened",
                                   file.name()))
        .with_hint("try again");
  }
  return {};
}

}  // namespace vmdk
