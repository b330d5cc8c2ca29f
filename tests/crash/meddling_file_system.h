// Carries out the engine's writes wrongly, as a faulty engine would: shows that the crash tests see
// it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <vmdk/io.h>

namespace vmdk::test {

// What to do in place of a call; an empty one goes through. `below`: the file that was meant.
struct Meddling {
  std::function<Status(File& below, FileOffset at, std::span<const iovec> parts)> write = {};
  std::function<Status(File& below)> sync = {};
  std::function<Status(File& below, std::uint64_t end)> grow = {};
};

// One thread.
class MeddlingFileSystem : public FileSystem {
 public:
  MeddlingFileSystem(FileSystem& below, Meddling meddling)
      : below_(below), meddling_(std::move(meddling)) {}

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) override;
  Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& relative,
                                             Access access) override;

  Result<std::unique_ptr<File>> create(const std::filesystem::path& path) override {
    return below_.create(path);
  }

  Result<std::unique_ptr<File>> open_device(const std::filesystem::path& path,
                                            Access access) override {
    return below_.open_device(path, access);
  }

  Result<std::unique_ptr<File>> create_hidden(const std::filesystem::path& path) override {
    return below_.create_hidden(path);
  }

  Result<std::unique_ptr<File>> create_successor(const std::filesystem::path& path) override {
    return meddled(below_.create_successor(path));
  }

  Result<std::unique_ptr<File>> create_unnamed(const std::filesystem::path& directory) override {
    return below_.create_unnamed(directory);
  }

  Status remove(const std::filesystem::path& path) override { return below_.remove(path); }

  Status sync_directory(const std::filesystem::path& directory) override {
    return below_.sync_directory(directory);
  }

  Result<std::vector<std::string>> list(const std::filesystem::path& directory) override {
    return below_.list(directory);
  }

  Kind kind(const std::filesystem::path& path) const noexcept override { return below_.kind(path); }

 private:
  class Handle;

  Result<std::unique_ptr<File>> meddled(Result<std::unique_ptr<File>> opened) const;

  FileSystem& below_;
  const Meddling meddling_;
};

}  // namespace vmdk::test
