// FLAT and VMFS extents: the bytes of a file, from an offset on.
#pragma once

#include <memory>

#include "extent/extent.h"

namespace vmdk {

class FlatExtent : public Extent {
 public:
  // The file (which outlives the extent) holds [offset, offset + size) in bytes, whole.
  FlatExtent(OpenFile& file, FileOffset offset, std::uint64_t size, bool writable) noexcept
      : FlatExtent(file, offset, size, writable, size) {}

  // Only its first `there` bytes; the others are unreadable. Requires: not writable.
  static std::unique_ptr<FlatExtent> cut(OpenFile& file, FileOffset offset, std::uint64_t size,
                                         std::uint64_t there) {
    return std::unique_ptr<FlatExtent>(new FlatExtent(file, offset, size, false, there));
  }

  std::uint64_t size() const noexcept override { return size_; }

  bool writable() const noexcept override { return writable_; }

  OpenFile* file() const noexcept override { return &file_; }

  Result<Run> lookup(ExtentOffset at, std::uint64_t max_length) override;
  Result<Run> describe(ExtentOffset at, std::uint64_t max_length) override;
  Status read(FileOffset where, std::span<std::byte> into) const override;
  Status overwrite(FileOffset where, std::span<const std::byte> from) override;
  Status clear(ExtentOffset at, std::uint64_t length, ClearTo target) override;

 private:
  FlatExtent(OpenFile& file, FileOffset offset, std::uint64_t size, bool writable,
             std::uint64_t there) noexcept
      : file_(file), offset_(offset), size_(size), there_(there), writable_(writable) {
    file_.note_size(offset_.bytes() + there_);
  }

  OpenFile& file_;
  const FileOffset offset_;
  const std::uint64_t size_;
  const std::uint64_t there_;
  const bool writable_;
};

}  // namespace vmdk
