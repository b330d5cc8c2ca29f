#include "disk/window_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vmdk {

WindowFile::WindowFile(std::unique_ptr<File> file, FileOffset begin, std::uint64_t length,
                       std::string name)
    : file_(std::move(file)), begin_(begin), length_(length), name_(std::move(name)) {}

Error WindowFile::read_only() const {
  return Error::from_errno(EROFS, name_);
}

Result<std::size_t> WindowFile::read(FileOffset at, std::span<std::byte> into) const {
  if (at.bytes() >= length_)
    return std::size_t{0};
  const auto inside = std::min<std::uint64_t>(into.size(), length_ - at.bytes());
  return file_->read(begin_ + at.bytes(), into.first(inside));
}

Status WindowFile::write(FileOffset /*at*/, std::span<const iovec> /*parts*/) {
  return read_only();
}

Status WindowFile::grow(std::uint64_t /*end*/) {
  return read_only();
}

Status WindowFile::resize(std::uint64_t /*size*/) {
  return read_only();
}

Status WindowFile::punch_hole(FileOffset /*at*/, std::uint64_t /*length*/) {
  return read_only();
}

Status WindowFile::sync() {
  return {};
}

Result<std::uint64_t> WindowFile::size() const {
  return length_;
}

// The rest of the file is not ours; how much of the window is holes is not worth the search.
Result<std::uint64_t> WindowFile::allocated() const {
  ASSIGN_OR_RETURN(const std::uint64_t whole, file_->allocated());
  return std::min(whole, length_);
}

Result<std::optional<FileOffset>> WindowFile::next_data(FileOffset from) const {
  using Found = std::optional<FileOffset>;
  if (from.bytes() >= length_)
    return Found();
  ASSIGN_OR_RETURN(const Found found, file_->next_data(begin_ + from.bytes()));
  if (!found || found->bytes() - begin_.bytes() >= length_)
    return Found();
  return Found(FileOffset(found->bytes() - begin_.bytes()));
}

Result<std::optional<FileOffset>> WindowFile::next_hole(FileOffset from) const {
  using Found = std::optional<FileOffset>;
  if (from.bytes() >= length_)
    return Found();
  ASSIGN_OR_RETURN(const Found found, file_->next_hole(begin_ + from.bytes()));
  return Found(FileOffset(found ? std::min(found->bytes() - begin_.bytes(), length_) : length_));
}

void WindowFile::prefetch(FileOffset at, std::uint64_t length) const noexcept {
  if (at.bytes() < length_)
    file_->prefetch(begin_ + at.bytes(), std::min(length, length_ - at.bytes()));
}

Status WindowFile::lock(LockMode mode) {
  return mode == LockMode::kWrite ? Status(read_only()) : file_->lock(mode);
}

FileId WindowFile::id() const noexcept {
  FileId id = file_->id();
  id.part = begin_.bytes();
  return id;
}

std::uint32_t WindowFile::permissions() const noexcept {
  constexpr std::uint32_t kMayWrite = 0222;
  return file_->permissions() & ~kMayWrite;
}

}  // namespace vmdk
