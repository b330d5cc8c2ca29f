// What nobody flushes is committed by itself.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"

namespace vmdk::test {
namespace {

class TimedCommitTest : public DiskFixture {
 protected:
  // What another program, or this one after kill -9, finds at that place of the disk.
  std::vector<std::byte> found_at(std::uint64_t at, std::size_t length) const {
    const auto files = memory_.clone();
    OpenOptions options;
    options.access = Access::kReadOnly;
    const auto disk = Disk::open(*files, "/vm/d.vmdk", options);
    EXPECT_OK(disk);
    std::vector<std::byte> bytes(length);
    EXPECT_OK((*disk)->read(DiskOffset(at), bytes));
    return bytes;
  }

  bool becomes_found(std::uint64_t at, const std::vector<std::byte>& bytes) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (std::chrono::steady_clock::now() < deadline) {
      if (found_at(at, bytes.size()) == bytes)
        return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
};

TEST_F(TimedCommitTest, EachExtentIsCommittedThoughNobodyFlushes) {
  ASSERT_OK(build_split_sparse(
      memory_, "/vm/d.vmdk",
      {SparseSpec{.capacity = kMiB}, SparseSpec{.capacity = kMiB}, SparseSpec{.capacity = kMiB}}));
  OpenOptions options;
  options.commit_interval = std::chrono::milliseconds(10);
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files_, "/vm/d.vmdk", options));
  for (std::uint64_t extent = 0; extent < 3; ++extent) {
    const auto bytes = filled(4096, 'a' + static_cast<unsigned>(extent));
    ASSERT_OK(disk->write(DiskOffset(extent * kMiB + 4096), bytes));
    ASSERT_TRUE(becomes_found(extent * kMiB + 4096, bytes)) << "extent " << extent;
  }
  ASSERT_OK(disk->close());
}

// Bytes of grains that have their place already: there is a sync to make, and no table.
TEST_F(TimedCommitTest, BytesInPlaceAreSyncedThoughNobodyFlushes) {
  make_sparse("/vm/d.vmdk", {}, "data");
  OpenOptions options;
  options.commit_interval = std::chrono::milliseconds(10);
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files_, "/vm/d.vmdk", options));
  ASSERT_OK(disk->write(DiskOffset(0), filled(512, 'x')));
  const auto first = files_.total().syncs();  // with those of the first write
  ASSERT_OK(disk->write(DiskOffset(0), filled(512, 'y')));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (files_.total().syncs() <= first && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GT(files_.total().syncs(), first);
  ASSERT_OK(disk->close());
}

}  // namespace
}  // namespace vmdk::test
