// A request found a grain, and before it came to its bytes the grain was discarded, the discard
// committed, and space wanted for another grain: the request must not meet that one.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/disk.h>

#include "support/file_helpers.h"
#include "support/holding_file_system.h"
#include "support/image_builder.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

constexpr char kImage[] = "/vm/d.vmdk";
constexpr std::uint64_t kGrain = 4 * kKiB;
constexpr DiskOffset kOld(3 * kGrain);
constexpr DiskOffset kNew(100 * kGrain);
constexpr DiskOffset kNewer(200 * kGrain);

class InFlightTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(build_sparse(memory_, kImage, {.capacity = 2 * kMiB, .grain_size = kGrain}));
    OpenOptions options;
    options.commit_interval = std::chrono::milliseconds::zero();
    ASSERT_OK_AND_ASSIGN(disk_, Disk::open(files_, kImage, options));
    ASSERT_OK(disk_->write(kOld, filled(kGrain, 'o')));
    ASSERT_OK(disk_->flush());
    where_ = where(kOld);
  }

  std::uint64_t where(DiskOffset at) {
    const auto run = disk_->map(at, kGrain);
    EXPECT_OK(run);
    EXPECT_EQ(run->kind, MapKind::kData);
    return run->where.bytes();
  }

  // Starts `request`, which is held at the old grain's bytes, and gives its space away meanwhile.
  void while_in_flight(OpKind kind, const std::function<void()>& request) {
    files_.hold([=, this](const FileOperation& operation) {
      return operation.kind == kind && operation.offset >= where_ &&
             operation.offset < where_ + kGrain;
    });
    std::thread other(request);
    files_.wait_until_held();
    // Before the space may be written to, which would be held too.
    EXPECT_OK(disk_->discard(kOld, kGrain));
    EXPECT_OK(disk_->flush());
    std::thread writer([this] { EXPECT_OK(disk_->write(kNew, filled(kGrain, 'n'))); });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    files_.let_go();
    other.join();
    writer.join();
    EXPECT_NE(where(kNew), where_) << "the space was given away under a request";
  }

  std::vector<std::byte> read(DiskOffset at) {
    std::vector<std::byte> bytes(kGrain);
    EXPECT_OK(disk_->read(at, bytes));
    return bytes;
  }

  // That it is given away at all: with nobody in the way the next grain gets it.
  void expect_space_is_used_at_last() {
    EXPECT_OK(disk_->write(kNewer, filled(kGrain, 'r')));
    EXPECT_EQ(where(kNewer), where_);
    EXPECT_OK(disk_->close());
  }

  MemoryFileSystem memory_;
  HoldingFileSystem files_{memory_};
  std::unique_ptr<Disk> disk_;
  std::uint64_t where_ = 0;  // the old grain's bytes
};

TEST_F(InFlightTest, AReaderSeesItsGrainOrZeros) {
  std::vector<std::byte> seen;
  while_in_flight(OpKind::kRead, [&] { seen = read(kOld); });
  EXPECT_TRUE(seen == filled(kGrain, 'o') || seen == filled(kGrain, 0));
  EXPECT_EQ(read(kNew), filled(kGrain, 'n'));
  expect_space_is_used_at_last();
}

TEST_F(InFlightTest, AWriteInPlaceDoesNotHitTheNextOwner) {
  while_in_flight(OpKind::kWrite,
                  [&] { EXPECT_OK(disk_->write(kOld + kSectorSize, filled(kSectorSize, 'w'))); });
  EXPECT_EQ(read(kNew), filled(kGrain, 'n'));
  expect_space_is_used_at_last();
}

}  // namespace
}  // namespace vmdk::test
