// The library by itself, over files in memory that can lose what was not synced.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <vmdk/disk.h>
#include <vmdk/io.h>

#include "support/crash_file_system.h"
#include "support/memory_file_system.h"
#include "vfsx/images.h"
#include "vfsx/recipe.h"
#include "vfsx/subject.h"

namespace vmdk::test {

// Stands between the engine and its files; empty: nothing does.
using Between = std::function<std::unique_ptr<FileSystem>(FileSystem& below)>;

// A kill is a power cut. Nothing happens by itself: the same calls do the same each time.
class DiskSubject final : public Subject {
 public:
  // The image must outlive it.
  static Result<std::unique_ptr<DiskSubject>> open(const PreparedImage& image, const Setup& setup,
                                                   Between between = {});
  ~DiskSubject() override;

  Status read(std::uint64_t at, std::span<std::byte> into, bool mapped) override;
  Status write(std::uint64_t at, std::span<const std::byte> from, bool mapped) override;
  Status punch(std::uint64_t at, std::uint64_t length) override;
  Status zero(std::uint64_t at, std::uint64_t length) override;
  Result<std::uint64_t> next_data(std::uint64_t from) override;
  Result<std::uint64_t> next_hole(std::uint64_t from) override;
  Status sync(bool data_only) override;
  // The library keeps no file open and no page: as remount(), and nothing.
  Status reopen() override;
  Status drop_caches() override;
  Status remount(std::uint64_t tag) override;
  std::size_t point() const override;
  Result<std::size_t> kill(std::size_t earliest, std::uint64_t tag) override;
  Status finish() override;

 private:
  DiskSubject(const PreparedImage& image, Setup setup, Between between);

  Status open_over(std::unique_ptr<MemoryFileSystem> durable);
  Status close();
  Status require_bases_unchanged() const;

  const PreparedImage& image_;
  const Setup setup_;
  const Between between_;
  std::unique_ptr<MemoryFileSystem> durable_;
  std::unique_ptr<CrashFileSystem> files_;
  std::unique_ptr<FileSystem> decorated_;
  std::unique_ptr<Disk> disk_;
  bool may_leak_ = false;  // a crash has left something that no clean end took away
};

}  // namespace vmdk::test
