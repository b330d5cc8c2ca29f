// Keeps failing allocations away from the files below: they stand in for the system.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <vmdk/io.h>

namespace vmdk::test {

// The file system below must outlive this one. As thread-safe as that is.
class PausedFileSystem : public FileSystem {
 public:
  explicit PausedFileSystem(FileSystem& below) : below_(below) {}

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) override;
  Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& relative,
                                             Access access) override;
  Result<std::unique_ptr<File>> open_device(const std::filesystem::path& path,
                                            Access access) override;
  Result<std::unique_ptr<File>> create(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_hidden(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_successor(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_unnamed(const std::filesystem::path& directory) override;
  Status remove(const std::filesystem::path& path) override;
  Status sync_directory(const std::filesystem::path& directory) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
  Kind kind(const std::filesystem::path& path) const noexcept override;

 private:
  FileSystem& below_;
};

}  // namespace vmdk::test
