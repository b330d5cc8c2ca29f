// Files in memory, put into a folder of the host for a while.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <vmdk/io.h>

#include "io/posix_file_system.h"
#include "support/memory_file_system.h"

namespace vmdk::test {

// "/vm/disk.vmdk" is ROOT/vm/disk.vmdk, and so is the name that files have then. One thread.
class RootedFileSystem : public FileSystem {
 public:
  // Writes all files below `root`, which must be empty.
  RootedFileSystem(const MemoryFileSystem& files, std::filesystem::path root);

  // Puts what is below the root back into memory, and nothing else.
  void collect(MemoryFileSystem& files) const;

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) override {
    return host_.open(below(path), access);
  }

  Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& relative,
                                             Access access) override {
    return host_.open_beneath(below(directory), relative, access);
  }

  Result<std::unique_ptr<File>> open_device(const std::filesystem::path& path,
                                            Access access) override {
    return host_.open_device(path, access);
  }

  Result<std::unique_ptr<File>> create(const std::filesystem::path& path) override {
    return host_.create(below(path));
  }

  Result<std::unique_ptr<File>> create_hidden(const std::filesystem::path& path) override {
    return host_.create_hidden(below(path));
  }

  Result<std::unique_ptr<File>> create_successor(const std::filesystem::path& path) override {
    return host_.create_successor(below(path));
  }

  Result<std::unique_ptr<File>> create_unnamed(const std::filesystem::path& directory) override {
    return host_.create_unnamed(below(directory));
  }

  Status remove(const std::filesystem::path& path) override { return host_.remove(below(path)); }

  Status sync_directory(const std::filesystem::path& directory) override {
    return host_.sync_directory(below(directory));
  }

  Result<std::vector<std::string>> list(const std::filesystem::path& directory) override {
    return host_.list(below(directory));
  }

  Kind kind(const std::filesystem::path& path) const noexcept override {
    return host_.kind(below(path));
  }

 private:
  std::filesystem::path below(const std::filesystem::path& path) const;

  const std::filesystem::path root_;
  PosixFileSystem host_;
};

}  // namespace vmdk::test
