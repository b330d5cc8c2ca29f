// A stretch of a file, shown as a file that can only be read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <vmdk/io.h>

namespace vmdk {

// Byte 0 is byte `begin` of `file`. Locks are those of the whole file. Every change is EROFS.
class WindowFile final : public File {
 public:
  // Requires: [begin, begin + length) lies inside `file`, begin > 0. `name`: for messages.
  WindowFile(std::unique_ptr<File> file, FileOffset begin, std::uint64_t length, std::string name);

  Result<std::size_t> read(FileOffset at, std::span<std::byte> into) const override;
  Status write(FileOffset at, std::span<const iovec> parts) override;
  Status grow(std::uint64_t end) override;
  Status resize(std::uint64_t size) override;
  Status punch_hole(FileOffset at, std::uint64_t length) override;
  Status sync() override;
  Result<std::uint64_t> size() const override;
  Result<std::uint64_t> allocated() const override;
  Result<std::optional<FileOffset>> next_data(FileOffset from) const override;
  Result<std::optional<FileOffset>> next_hole(FileOffset from) const override;
  void prefetch(FileOffset at, std::uint64_t length) const noexcept override;

  void start_writing(FileOffset /*at*/, std::uint64_t /*length*/) noexcept override {}

  Status lock(LockMode mode) override;

  FileId id() const noexcept override;

  std::int64_t modified_at_open() const noexcept override { return file_->modified_at_open(); }

  std::uint32_t permissions() const noexcept override;

  const std::string& name() const noexcept override { return name_; }

 private:
  Error read_only() const;

  const std::unique_ptr<File> file_;
  const FileOffset begin_;
  const std::uint64_t length_;  // bytes
  const std::string name_;
};

}  // namespace vmdk
