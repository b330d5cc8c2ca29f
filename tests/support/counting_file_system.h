// Counts what passes the seam: the tests of I/O costs and of write order.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "support/intercepting_file_system.h"

namespace vmdk::test {

// Calls, whether they succeed or not, and the bytes they ask for.
struct OpCounts {
  std::array<std::uint64_t, kOpKinds> calls{};
  std::array<std::uint64_t, kOpKinds> bytes{};
  std::uint64_t write_parts = 0;  // of all vectored writes

  std::uint64_t of(OpKind kind) const { return calls.at(static_cast<std::size_t>(kind)); }

  std::uint64_t bytes_of(OpKind kind) const { return bytes.at(static_cast<std::size_t>(kind)); }

  std::uint64_t reads() const { return of(OpKind::kRead); }

  std::uint64_t writes() const { return of(OpKind::kWrite); }

  std::uint64_t syncs() const { return of(OpKind::kSync); }

  std::uint64_t read_bytes() const { return bytes_of(OpKind::kRead); }

  std::uint64_t written_bytes() const { return bytes_of(OpKind::kWrite); }
};

// Thread-safe.
class CountingFileSystem : public InterceptingFileSystem {
 public:
  using InterceptingFileSystem::InterceptingFileSystem;

  // Since the last reset().
  OpCounts total() const;
  // Of one file (or directory); zeros when nothing happened to it.
  OpCounts of_file(const std::filesystem::path& path) const;
  // Forgets counts and log.
  void reset();

  // The operations in the order they arrived, kept only after keep_log(true).
  void keep_log(bool keep);
  std::vector<FileOperation> log() const;

 protected:
  std::optional<Fault> intercept(const FileOperation& operation) override;

 private:
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  OpCounts total_;
  std::map<std::string, OpCounts> files_;
  bool keep_log_ = false;
  std::vector<FileOperation> log_;
};

}  // namespace vmdk::test
