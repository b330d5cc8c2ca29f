#include "crash/meddling_file_system.h"

namespace vmdk::test {

class MeddlingFileSystem::Handle : public File {
 public:
  Handle(const Meddling& meddling, std::unique_ptr<File> below)
      : meddling_(meddling), below_(std::move(below)) {}

  Result<std::size_t> read(FileOffset at, std::span<std::byte> into) const override {
    return below_->read(at, into);
  }

  Status write(FileOffset at, std::span<const iovec> parts) override {
    return meddling_.write ? meddling_.write(*below_, at, parts) : below_->write(at, parts);
  }

  Status grow(std::uint64_t end) override {
    return meddling_.grow ? meddling_.grow(*below_, end) : below_->grow(end);
  }

  Status resize(std::uint64_t size) override { return below_->resize(size); }

  Status punch_hole(FileOffset at, std::uint64_t length) override {
    return below_->punch_hole(at, length);
  }

  Status sync() override { return meddling_.sync ? meddling_.sync(*below_) : below_->sync(); }

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

  Status lock(LockMode mode) override { return below_->lock(mode); }

  FileId id() const noexcept override { return below_->id(); }

  std::int64_t modified_at_open() const noexcept override { return below_->modified_at_open(); }

  std::uint32_t permissions() const noexcept override { return below_->permissions(); }

  const std::string& name() const noexcept override { return below_->name(); }

 private:
  const Meddling& meddling_;
  const std::unique_ptr<File> below_;
};

Result<std::unique_ptr<File>> MeddlingFileSystem::open(const std::filesystem::path& path,
                                                       Access access) {
  ASSIGN_OR_RETURN(auto file, below_.open(path, access));
  return std::make_unique<Handle>(meddling_, std::move(file));
}

Result<std::unique_ptr<File>> MeddlingFileSystem::open_beneath(
    const std::filesystem::path& directory, const std::filesystem::path& relative, Access access) {
  ASSIGN_OR_RETURN(auto file, below_.open_beneath(directory, relative, access));
  return std::make_unique<Handle>(meddling_, std::move(file));
}

}  // namespace vmdk::test
