// Long zeros are written piece by piece: each sector by one write, or a crash between two pieces
// leaves it neither old nor new.
#include <cerrno>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "support/crash_file_system.h"
#include "support/faulty_file_system.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

constexpr char kImage[] = "/vm/disk.vmdk";
constexpr std::uint64_t kCapacity = 4 * kMiB;

struct ZeroedKind {
  std::string name;
  ImageType type = ImageType::kMonolithicSparse;
  bool child = false;
  std::uint64_t grain_size = 64 * kKiB;
};

void PrintTo(const ZeroedKind& kind, std::ostream* out) {
  *out << kind.name;
}

class ZeroPiecesTest : public ::testing::TestWithParam<ZeroedKind> {
 protected:
  void make_image() {
    CreateOptions options;
    options.type = ImageType::kMonolithicSparse;
    options.capacity = kCapacity;
    if (GetParam().child) {
      ASSERT_OK(create_image(initial_, "/vm/parent.vmdk", options));
      options.parent = "/vm/parent.vmdk";
    }
    options.type = GetParam().type;
    options.grain_size = GetParam().grain_size;
    ASSERT_OK(create_image(initial_, kImage, options));
  }

  MemoryFileSystem initial_;
};

std::vector<LogEntry> writes_since(const CrashFileSystem& files, std::size_t point) {
  std::vector<LogEntry> writes;
  for (std::size_t i = point; i < files.log().size(); ++i)
    if (files.log()[i].kind == LogEntry::Kind::kWrite)
      writes.push_back(files.log()[i]);
  return writes;
}

TEST_P(ZeroPiecesTest, ASectorIsZeroedInOneWrite) {
  ASSERT_NO_FATAL_FAILURE(make_image());
  CrashFileSystem files(initial_);
  // On a host that punches holes a flat disk needs no pieces.
  FaultyFileSystem without_holes(files);
  without_holes.add({.kinds = {OpKind::kPunch}, .for_ever = true, .err = EOPNOTSUPP});
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(without_holes, kImage, OpenOptions()));
  ASSERT_OK(disk->write(DiskOffset(0), std::vector<std::byte>(kCapacity, std::byte{'x'})));
  ASSERT_OK(disk->flush());
  const std::size_t point = files.log().size();
  ASSERT_OK(disk->zero(DiskOffset(700), 3 * kMiB + 1));
  const auto writes = writes_since(files, point);
  ASSERT_GT(writes.size(), 1U) << "or there is nothing to see";
  std::map<std::uint64_t, int> times;
  for (const LogEntry& write : writes)
    for (std::uint64_t sector = write.offset / kSectorSize;
         sector * kSectorSize < write.offset + write.length; ++sector)
      EXPECT_EQ(++times[sector], 1) << to_string(write) << ", sector " << sector;
  ASSERT_OK(disk->close());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ZeroPiecesTest,
    ::testing::Values(ZeroedKind{.name = "Flat", .type = ImageType::kMonolithicFlat},
                      ZeroedKind{.name = "Sparse", .grain_size = kMiB},
                      ZeroedKind{.name = "Child", .child = true},
                      ZeroedKind{.name = "ChildOfLargeGrains", .child = true, .grain_size = kMiB}),
    [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace vmdk::test
