// Standard input and output as the two ends of a copy.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <vmdk/byte_source.h>
#include <vmdk/result.h>

namespace vmdkctl {

// What is skipped becomes a hole of a regular file that is written from its end on, and zeros
// elsewhere. A reader that goes away is an error, and no longer a signal.
class StandardOutput : public vmdk::ByteSink {
 public:
  StandardOutput();

  vmdk::Status write(std::span<const std::byte> bytes) override;
  vmdk::Status skip(std::uint64_t length) override;

  // After the last byte: a file is as long as what was written, also where that ends in a hole.
  vmdk::Status end();

 private:
  bool makes_holes_ = false;
  bool ends_in_hole_ = false;
};

// Refuses to fill a terminal with the bytes of a disk. `way_out`: the hint.
vmdk::Status require_no_terminal(std::string_view way_out);

// A raw disk on standard input, read once. For one thread.
class StandardInput : public vmdk::ByteSource {
 public:
  // `size`: bytes of the disk; needed unless standard input is a regular file.
  static vmdk::Result<std::unique_ptr<StandardInput>> open(std::optional<std::uint64_t> size);

  std::uint64_t capacity() const noexcept override;
  vmdk::Result<std::optional<vmdk::Stretch>> next_stretch(vmdk::DiskOffset from) override;
  // An end before the last byte is an error. EINTR when a signal is noted (Interrupts).
  vmdk::Status read(vmdk::DiskOffset at, std::span<std::byte> into) override;

  bool sequential() const noexcept override { return true; }

  // After the last byte: more of them are an error.
  vmdk::Status require_end();

 private:
  explicit StandardInput(std::uint64_t size) noexcept : size_(size) {}

  vmdk::Result<std::size_t> read_some(std::span<std::byte> into);

  const std::uint64_t size_;
  std::uint64_t at_ = 0;
};

}  // namespace vmdkctl
