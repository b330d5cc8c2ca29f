// The base of files that stand before another: everything goes through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <vmdk/io.h>

namespace vmdk::test {

class ForwardingFile : public File {
 public:
  explicit ForwardingFile(std::unique_ptr<File> below) : below_(std::move(below)) {}

  Result<std::size_t> read(FileOffset at, std::span<std::byte> into) const override {
    return below_->read(at, into);
  }

  Status write(FileOffset at, std::span<const iovec> parts) override {
    return below_->write(at, parts);
  }

  Status grow(std::uint64_t end) override { return below_->grow(end); }

  Status resize(std::uint64_t size) override { return below_->resize(size); }

  Status punch_hole(FileOffset at, std::uint64_t length) override {
    return below_->punch_hole(at, length);
  }

  Status sync() override { return below_->sync(); }

  Result<std::uint64_t> size() const override { return below_->size(); }

  Result<std::uint64_t> allocated() const override { return below_->allocated(); }

  Result<std::optional<FileOffset>> next_data(FileOffset from) const override {
    return below_->next_data(from);
  }

  Result<std::optional<FileOffset>> next_hole(FileOffset from) const override {
    return below_->next_hole(from);
  }

  void prefetch(FileOffset at, std::uint64_t length) const noexcept override {
    below_->prefetch(at, length);
  }

  void start_writing(FileOffset at, std::uint64_t length) noexcept override {
    below_->start_writing(at, length);
  }

  Status lock(LockMode mode) override { return below_->lock(mode); }

  Status reveal() override { return below_->reveal(); }

  Status take_place_of(const File& old) override { return below_->take_place_of(old); }

  FileId id() const noexcept override { return below_->id(); }

  std::int64_t modified_at_open() const noexcept override { return below_->modified_at_open(); }

  std::uint32_t permissions() const noexcept override { return below_->permissions(); }

  const std::string& name() const noexcept override { return below_->name(); }

 protected:
  File& below() const noexcept { return *below_; }

 private:
  const std::unique_ptr<File> below_;
};

}  // namespace vmdk::test
