// A file system in memory, for tests: fast, sparse, thread-safe, with locks, holes and copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>

#include "support/sparse_bytes.h"

namespace vmdk::test {

// Files live in memory; paths are compared after lexical normalisation and need no real folder. A
// directory exists when a file lies beneath it or make_directory() named it; "/", "." and "" always
// do. There are no symbolic links. A removed file lives on in its open handles. All functions are
// thread-safe.
//
// Like the real thing: ENOENT, EEXIST where one would expect them, kUnsupported for opening what is
// no regular file, EACCES by permission bits (the owner's), EBADF for a change through a handle
// that is open for reading, kDenied for open_beneath() of an absolute path or one that leaves the
// folder.
//
// Locks belong to the handle that took them. kWrite keeps kRead and kWrite out, kRead keeps kWrite
// out; kReadBesideWriter neither keeps out nor is kept out.
class MemoryFileSystem : public FileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) override;
  Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& relative,
                                             Access access) override;
  // A device is a file beneath "/dev", but not beneath "/dev/shm".
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

  // For tests. Those that name a file which is not there, besides put() and exists(), throw
  // std::out_of_range, which fails the test.

  // Makes or replaces the content of a file; open handles see it.
  void put(const std::filesystem::path& path, std::span<const std::byte> bytes);
  void put(const std::filesystem::path& path, std::string_view text);
  // The whole content. Not for huge files.
  std::vector<std::byte> contents(const std::filesystem::path& path) const;
  std::string text(const std::filesystem::path& path) const;
  // `length` bytes from `at`, zeros behind the end of the file.
  std::vector<std::byte> bytes(const std::filesystem::path& path, std::uint64_t at,
                               std::size_t length) const;
  // Overwrites, lengthening as needed.
  void poke(const std::filesystem::path& path, std::uint64_t at, std::span<const std::byte> bytes);
  // Inverts one bit: bit `bit % 8` of byte `bit / 8`, which must be inside the file.
  void flip_bit(const std::filesystem::path& path, std::uint64_t bit);
  bool exists(const std::filesystem::path& path) const;
  std::uint64_t size(const std::filesystem::path& path) const;
  // Sets the length, as another program would behind our back.
  void truncate(const std::filesystem::path& path, std::uint64_t size);
  void make_directory(const std::filesystem::path& path);
  // Bits 0400 and 0200 decide what open() allows.
  void set_permissions(const std::filesystem::path& path, std::uint32_t mode);
  // Nothing else changes a file's time.
  void set_modified(const std::filesystem::path& path, std::int64_t seconds);

  // Like contents() and put(), but nothing is copied before one side writes.
  SparseBytes content(const std::filesystem::path& path) const;
  void put_content(const std::filesystem::path& path, const SparseBytes& content);

  // The paths of all files, sorted.
  std::vector<std::string> files() const;
  // An independent copy; content is shared until one side writes. Without the locks, and with
  // everything closed: what is there after a restart.
  std::unique_ptr<MemoryFileSystem> clone() const;

 private:
  struct Node;
  class Handle;

  std::shared_ptr<Node> find(const std::string& key) const;
  std::shared_ptr<Node> new_node();
  // EEXIST when something has it.
  Status give_name(const std::filesystem::path& path, std::shared_ptr<Node> node);
  // kBusy when it is not the name of the node with the number `from`.
  Status change_name(const std::filesystem::path& path, std::uint64_t from,
                     std::shared_ptr<Node> to);
  std::shared_ptr<Node> find_or_make(const std::filesystem::path& path);
  std::shared_ptr<Node> need(const std::filesystem::path& path) const;
  bool is_directory(const std::string& key) const;
  Result<std::unique_ptr<File>> open_key(const std::string& key, const std::string& shown,
                                         Access access);

  mutable std::mutex mutex_;
  // Guarded by mutex_. A node's content is guarded by the node.
  std::map<std::string, std::shared_ptr<Node>> nodes_;
  std::set<std::string> directories_;
  std::uint64_t next_inode_ = 1;
};

// "./a/../b.vmdk" and "b.vmdk" are one file: the name that all fakes know it by.
std::string normal_path(const std::filesystem::path& path);

}  // namespace vmdk::test
