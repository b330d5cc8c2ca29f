#include "faults/paused_file_system.h"

#include <utility>

#include "support/forwarding_file.h"
#include "support/heap.h"

namespace vmdk::test {
namespace {

using Pause = FailingAllocations::Pause;

class PausedFile : public ForwardingFile {
 public:
  using ForwardingFile::ForwardingFile;

  ~PausedFile() override = default;

  Result<std::size_t> read(FileOffset at, std::span<std::byte> into) const override {
    const Pause pause;
    return below().read(at, into);
  }

  Status write(FileOffset at, std::span<const iovec> parts) override {
    const Pause pause;
    return below().write(at, parts);
  }

  Status grow(std::uint64_t end) override {
    const Pause pause;
    return below().grow(end);
  }

  Status resize(std::uint64_t size) override {
    const Pause pause;
    return below().resize(size);
  }

  Status punch_hole(FileOffset at, std::uint64_t length) override {
    const Pause pause;
    return below().punch_hole(at, length);
  }

  Status sync() override {
    const Pause pause;
    return below().sync();
  }

  Result<std::uint64_t> size() const override {
    const Pause pause;
    return below().size();
  }

  Result<std::uint64_t> allocated() const override {
    const Pause pause;
    return below().allocated();
  }

  Result<std::optional<FileOffset>> next_data(FileOffset from) const override {
    const Pause pause;
    return below().next_data(from);
  }

  Result<std::optional<FileOffset>> next_hole(FileOffset from) const override {
    const Pause pause;
    return below().next_hole(from);
  }

  void prefetch(FileOffset at, std::uint64_t length) const noexcept override {
    const Pause pause;
    below().prefetch(at, length);
  }

  void start_writing(FileOffset at, std::uint64_t length) noexcept override {
    const Pause pause;
    below().start_writing(at, length);
  }

  Status lock(LockMode mode) override {
    const Pause pause;
    return below().lock(mode);
  }

  Status reveal() override {
    const Pause pause;
    return below().reveal();
  }

  Status take_place_of(const File& old) override {
    const Pause pause;
    return below().take_place_of(old);
  }
};

Result<std::unique_ptr<File>> paused(Result<std::unique_ptr<File>> opened) {
  ASSIGN_OR_RETURN(auto file, std::move(opened));
  return std::make_unique<PausedFile>(std::move(file));
}

}  // namespace

Result<std::unique_ptr<File>> PausedFileSystem::open(const std::filesystem::path& path,
                                                     Access access) {
  const Pause pause;
  return paused(below_.open(path, access));
}

Result<std::unique_ptr<File>> PausedFileSystem::open_beneath(const std::filesystem::path& directory,
                                                             const std::filesystem::path& relative,
                                                             Access access) {
  const Pause pause;
  return paused(below_.open_beneath(directory, relative, access));
}

Result<std::unique_ptr<File>> PausedFileSystem::open_device(const std::filesystem::path& path,
                                                            Access access) {
  const Pause pause;
  return paused(below_.open_device(path, access));
}

Result<std::unique_ptr<File>> PausedFileSystem::create(const std::filesystem::path& path) {
  const Pause pause;
  return paused(below_.create(path));
}

Result<std::unique_ptr<File>> PausedFileSystem::create_hidden(const std::filesystem::path& path) {
  const Pause pause;
  return paused(below_.create_hidden(path));
}

Result<std::unique_ptr<File>> PausedFileSystem::create_successor(
    const std::filesystem::path& path) {
  const Pause pause;
  return paused(below_.create_successor(path));
}

Result<std::unique_ptr<File>> PausedFileSystem::create_unnamed(
    const std::filesystem::path& directory) {
  const Pause pause;
  return paused(below_.create_unnamed(directory));
}

Status PausedFileSystem::remove(const std::filesystem::path& path) {
  const Pause pause;
  return below_.remove(path);
}

Status PausedFileSystem::sync_directory(const std::filesystem::path& directory) {
  const Pause pause;
  return below_.sync_directory(directory);
}

Result<std::vector<std::string>> PausedFileSystem::list(const std::filesystem::path& directory) {
  const Pause pause;
  return below_.list(directory);
}

FileSystem::Kind PausedFileSystem::kind(const std::filesystem::path& path) const noexcept {
  const Pause pause;
  return below_.kind(path);
}

}  // namespace vmdk::test
