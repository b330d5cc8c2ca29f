// The base of the decorating file systems: everything goes through to another file system, after
// the derived class was asked.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <vmdk/io.h>

#include "support/file_operation.h"

namespace vmdk::test {

// How an operation is to fail in place of being done.
struct Fault {
  int err = 0;               // errno
  std::uint64_t prefix = 0;  // a write: so many bytes are written before it fails
};

// The file system below must outlive this one, and this one its files. Thread-safe when
// intercept() is. kind() is not intercepted; a prefetch cannot fail.
class InterceptingFileSystem : public FileSystem {
 public:
  explicit InterceptingFileSystem(FileSystem& below) : below_(below) {}

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) override;
  Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& relative,
                                             Access access) override;
  Result<std::unique_ptr<File>> create(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> open_device(const std::filesystem::path& path,
                                            Access access) override;
  Result<std::unique_ptr<File>> create_hidden(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_successor(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_unnamed(const std::filesystem::path& directory) override;
  Status remove(const std::filesystem::path& path) override;
  Status sync_directory(const std::filesystem::path& directory) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
  Kind kind(const std::filesystem::path& path) const noexcept override;

  // Files that were opened and not closed yet.
  std::size_t open_files() const noexcept { return open_files_.load(); }

 protected:
  // Called before each operation, from any thread. nullopt: go on.
  virtual std::optional<Fault> intercept(const FileOperation& operation) = 0;

 private:
  class Handle;

  // An error when the operation is to fail.
  Status ask(OpKind kind, const std::filesystem::path& path);
  Result<std::unique_ptr<File>> wrap(Result<std::unique_ptr<File>> opened,
                                     const std::filesystem::path& path);

  FileSystem& below_;
  std::atomic<std::size_t> open_files_{0};
};

}  // namespace vmdk::test
