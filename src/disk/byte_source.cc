#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <vmdk/byte_source.h>

#include "base/checked_math.h"
#include "base/hints.h"

namespace vmdk {
namespace {

class DiskSource : public ByteSource {
 public:
  explicit DiskSource(Disk& disk) noexcept : disk_(disk) {}

  std::uint64_t capacity() const noexcept override { return disk_.capacity(); }

  Result<std::optional<Stretch>> next_stretch(DiskOffset from) override {
    ASSIGN_OR_RETURN(const auto begin, disk_.next_data(from));
    if (!begin)
      return std::optional<Stretch>();
    ASSIGN_OR_RETURN(const DiskOffset end, disk_.next_hole(*begin));
    return std::optional(Stretch{*begin, end});
  }

  Status read(DiskOffset at, std::span<std::byte> into) override {
    ASSIGN_OR_RETURN(const std::size_t got, disk_.read(at, into));
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(got), into.end(), std::byte{0});
    return {};
  }

 private:
  Disk& disk_;
};

class RawSource : public ByteSource {
 public:
  RawSource(const File& file, std::uint64_t size) noexcept : file_(file), size_(size) {}

  std::uint64_t capacity() const noexcept override { return align_up(size_, kSectorSize); }

  Result<std::optional<Stretch>> next_stretch(DiskOffset from) override {
    if (from.bytes() >= size_)
      return std::optional<Stretch>();
    ASSIGN_OR_RETURN(const auto begin, file_.next_data(FileOffset(from.bytes())));
    if (!begin || begin->bytes() >= size_)
      return std::optional<Stretch>();
    ASSIGN_OR_RETURN(const auto hole, file_.next_hole(*begin));
    const std::uint64_t end = hole ? std::min(hole->bytes(), size_) : size_;
    // Data that became a hole between the two questions is none any more, but time must go on.
    return std::optional(
        Stretch{DiskOffset(begin->bytes()), DiskOffset(std::max(end, begin->bytes() + 1))});
  }

  Status read(DiskOffset at, std::span<std::byte> into) override {
    const std::uint64_t there = at.bytes() < size_ ? size_ - at.bytes() : 0;
    const auto part = into.first(std::min<std::uint64_t>(into.size(), there));
    ASSIGN_OR_RETURN(const std::size_t got, file_.read(FileOffset(at.bytes()), part));
    if (got < part.size())
      return Error::make(ErrorCode::kIo,
                         fmt::format("{}: became shorter while it was read: it ended at byte {}",
                                     file_.name(), at.bytes() + got));
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(got), into.end(), std::byte{0});
    return {};
  }

 private:
  const File& file_;
  const std::uint64_t size_;  // bytes
};

class PaddedSource : public ByteSource {
 public:
  PaddedSource(ByteSource& source, std::uint64_t capacity) noexcept
      : source_(source), capacity_(capacity) {}

  std::uint64_t capacity() const noexcept override { return capacity_; }

  Result<std::optional<Stretch>> next_stretch(DiskOffset from) override {
    return from.bytes() < source_.capacity() ? source_.next_stretch(from)
                                             : std::optional<Stretch>();
  }

  Status read(DiskOffset at, std::span<std::byte> into) override {
    const std::uint64_t own = source_.capacity() - std::min(source_.capacity(), at.bytes());
    const auto part = into.first(std::min<std::uint64_t>(into.size(), own));
    if (!part.empty())
      RETURN_IF_ERROR(source_.read(at, part));
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(part.size()), into.end(), std::byte{0});
    return {};
  }

  bool sequential() const noexcept override { return source_.sequential(); }

 private:
  ByteSource& source_;
  const std::uint64_t capacity_;  // bytes
};

}  // namespace

std::unique_ptr<ByteSource> padded(ByteSource& source, std::uint64_t capacity) {
  return std::make_unique<PaddedSource>(source, capacity);
}

std::unique_ptr<ByteSource> source_of(Disk& disk) {
  return std::make_unique<DiskSource>(disk);
}

Result<std::unique_ptr<ByteSource>> source_of(const File& raw) {
  ASSIGN_OR_RETURN(const std::uint64_t size, raw.size());
  return std::unique_ptr<ByteSource>(std::make_unique<RawSource>(raw, size));
}

Result<std::unique_ptr<File>> open_raw(FileSystem& file_system, const std::filesystem::path& path,
                                       bool share) {
  auto file = file_system.kind(path) == FileSystem::Kind::kOther
                  ? file_system.open_device(path, Access::kReadOnly)
                  : file_system.open(path, Access::kReadOnly);
  if (!file)
    return file;
  const Status locked = (*file)->lock(share ? LockMode::kReadBesideWriter : LockMode::kRead);
  if (locked || locked.error().code() == ErrorCode::kUnsupported)
    return file;
  Error error = locked.error();
  if (error.code() == ErrorCode::kBusy)
    return std::move(error).with_hint(std::string(kInUseHint) + "; or --share");
  return error;
}

}  // namespace vmdk
