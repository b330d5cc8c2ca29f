// Extents without a file to read: ZERO lines, and NOACCESS ranges.
#pragma once

#include <algorithm>

#include "extent/extent.h"

namespace vmdk {

class FixedExtent : public Extent {
 public:
  // `kind`: kZero or kUnreadable for all of it.
  FixedExtent(RunKind kind, std::uint64_t size) noexcept : kind_(kind), size_(size) {}

  std::uint64_t size() const noexcept override { return size_; }

  bool writable() const noexcept override { return false; }

  OpenFile* file() const noexcept override { return nullptr; }

  Result<Run> lookup(ExtentOffset at, std::uint64_t max_length) override {
    return Run{kind_, std::min(max_length, size_ - at.bytes()), FileOffset()};
  }

  Status read(FileOffset /*where*/, std::span<std::byte> /*into*/) const override {
    return Error::make(ErrorCode::kIo, "the extent has no data");
  }

 private:
  const RunKind kind_;
  const std::uint64_t size_;
};

}  // namespace vmdk
