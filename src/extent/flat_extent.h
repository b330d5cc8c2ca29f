// FLAT and VMFS extents: the bytes of a file, from an offset on.
#pragma once

#include "extent/extent.h"

namespace vmdk {

class FlatExtent : public Extent {
 public:
  // The file (which outlives the extent) holds [offset, offset + size) in bytes, whole.
  FlatExtent(OpenFile& file, FileOffset offset, std::uint64_t size, bool writable) noexcept
      : file_(file), offset_(offset), size_(size), writable_(writable) {}

  std::uint64_t size() const noexcept override { return size_; }

  bool writable() const noexcept override { return writable_; }

  OpenFile* file() const noexcept override { return &file_; }

  Result<Run> lookup(ExtentOffset at, std::uint64_t max_length) override;
  Result<Run> describe(ExtentOffset at, std::uint64_t max_length) override;
  Status read(FileOffset where, std::span<std::byte> into) const override;
  Status overwrite(FileOffset where, std::span<const std::byte> from) override;
  Status clear(ExtentOffset at, std::uint64_t length, ClearTo target) override;

 private:
  OpenFile& file_;
  const FileOffset offset_;
  const std::uint64_t size_;
  const bool writable_;
};

}  // namespace vmdk
