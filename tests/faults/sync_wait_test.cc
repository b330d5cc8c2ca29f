// A flush must not answer while the bytes it is for are still on their way.
#include <cerrno>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include <vmdk/disk.h>

#include "support/file_helpers.h"
#include "support/holding_file_system.h"
#include "support/image_builder.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

constexpr char kFirstExtent[] = "/vm/d-s001.vmdk";

std::function<bool(const FileOperation&)> syncs_of(const char* file) {
  return [=](const FileOperation& operation) {
    return operation.kind == OpKind::kSync && operation.file == file;
  };
}

class SyncWaitTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(build_split_sparse(memory_, "/vm/d.vmdk",
                                 {SparseSpec{.capacity = kMiB}, SparseSpec{.capacity = kMiB}}));
    OpenOptions options;
    options.commit_interval = std::chrono::milliseconds::zero();
    ASSERT_OK_AND_ASSIGN(disk_, Disk::open(files_, "/vm/d.vmdk", options));
  }

  std::future<Status> start_flush() {
    return std::async(std::launch::async, [this] { return disk_->flush(); });
  }

  MemoryFileSystem memory_;
  HoldingFileSystem files_{memory_};
  std::unique_ptr<Disk> disk_;
};

class OtherWriteTest : public SyncWaitTest, public testing::WithParamInterface<int> {};

TEST_P(OtherWriteTest, AFlushWaitsForASyncThatAnotherWriteStarted) {
  const auto bytes = filled(4096, 'a');
  ASSERT_OK(disk_->write(DiskOffset(0), bytes));
  ASSERT_OK(disk_->flush());
  ASSERT_OK(disk_->write(DiskOffset(0), bytes));  // in place: only the file is unsynced

  files_.hold(syncs_of(kFirstExtent));
  std::thread first_write([&] {
    // Puts the mark into the second extent, and syncs all files for that.
    const Status written = disk_->write(DiskOffset(kMiB), bytes);
    EXPECT_EQ(written.has_value(), GetParam() == 0);
  });
  files_.wait_until_held();
  auto flush = start_flush();
  EXPECT_EQ(flush.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  files_.let_go(GetParam());
  first_write.join();
  const Status flushed = flush.get();
  EXPECT_EQ(flushed.has_value(), GetParam() == 0) << "the failure is also this caller's";
  if (GetParam() == 0) {
    EXPECT_OK(disk_->close());
  }
}

INSTANTIATE_TEST_SUITE_P(Outcomes, OtherWriteTest, testing::Values(0, EIO));

// The commit that is running copied the tables before the write.
TEST_F(SyncWaitTest, AFlushIsNotAnsweredByACommitThatBeganBeforeItsWrite) {
  ASSERT_OK(disk_->write(DiskOffset(0), filled(4096, 'a')));
  files_.hold(syncs_of(kFirstExtent));
  auto first = start_flush();
  files_.wait_until_held();
  const auto bytes = filled(4096, 'b');
  ASSERT_OK(disk_->write(DiskOffset(512 * kKiB), bytes));
  auto second = start_flush();
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  files_.let_go();
  EXPECT_OK(first.get());
  EXPECT_OK(second.get());
  // What the files say now, whatever the program still has in memory.
  const auto files = memory_.clone();
  OpenOptions options;
  options.access = Access::kReadOnly;
  ASSERT_OK_AND_ASSIGN(const auto found, Disk::open(*files, "/vm/d.vmdk", options));
  std::vector<std::byte> read(bytes.size());
  ASSERT_OK(found->read(DiskOffset(512 * kKiB), read));
  EXPECT_EQ(read, bytes);
  EXPECT_OK(disk_->close());
}

}  // namespace
}  // namespace vmdk::test
