// A file or block device of the host. Every function is a thin cover over positional system calls,
// so any number of threads may be inside at once; the file position of the descriptor means
// nothing.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <vmdk/io.h>

#include "io/file_locks.h"
#include "io/unique_fd.h"

namespace vmdk {

// The name of a file in `folder` that is not whole yet: one that no file is likely to have.
std::string unfinished_name(const std::filesystem::path& folder);

class PosixFile final : public File {
 public:
  // Takes over `fd`, an open regular file or block device; `name` is what messages call it.
  static Result<std::unique_ptr<File>> adopt(UniqueFd fd, std::string name);
  // The same for a new file that gets `name` by reveal(). `temporary`: the name that it has until
  // then; empty: none.
  static Result<std::unique_ptr<File>> adopt_hidden(UniqueFd fd, std::string name,
                                                    std::string temporary);
  ~PosixFile() override;

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
  void start_writing(FileOffset at, std::uint64_t length) noexcept override;
  Status lock(LockMode mode) override;
  Status reveal() override;
  Status take_place_of(const File& old) override;

  FileId id() const noexcept override { return at_open_.id; }

  std::int64_t modified_at_open() const noexcept override { return at_open_.modified; }

  std::uint32_t permissions() const noexcept override { return at_open_.permissions; }

  const std::string& name() const noexcept override { return name_; }

 private:
  struct AtOpen {
    FileId id;
    std::int64_t modified = 0;      // seconds since 1970
    std::uint32_t permissions = 0;  // 07777
  };

  PosixFile(UniqueFd fd, std::string name, AtOpen at_open, std::optional<std::string> temporary);
  static Result<std::unique_ptr<File>> adopt(UniqueFd fd, std::string name,
                                             std::optional<std::string> temporary);

  // The last system call's errno with the name of the file.
  Error failed() const;
  Status take_over_attributes(const struct stat& old);
  ssize_t read_some(std::uint64_t at, std::span<std::byte> into) const noexcept;
  Result<std::optional<FileOffset>> seek(FileOffset from, int whence) const;

  // Constant after construction.
  const UniqueFd fd_;
  const std::string name_;
  const AtOpen at_open_;
  // Until reveal(), which is called by the thread that made the file.
  std::optional<std::string> temporary_;
  // Internally synchronized.
  FileLocks locks_;
};

}  // namespace vmdk
