// A flush must not answer while the bytes it is for are still on their way.
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <vmdk/disk.h>

#include "support/file_helpers.h"
#include "support/image_builder.h"
#include "support/intercepting_file_system.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

// Holds up the syncs of one file, and may make them fail.
class SlowFileSystem : public InterceptingFileSystem {
 public:
  using InterceptingFileSystem::InterceptingFileSystem;

  void hold(std::string path) {
    const std::lock_guard lock(mutex_);
    held_ = std::move(path);
  }

  void wait_until_syncing() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_; });
  }

  void let_go(int err) {
    const std::lock_guard lock(mutex_);
    held_.clear();
    err_ = err;
    changed_.notify_all();
  }

 private:
  std::optional<Fault> intercept(const FileOperation& operation) override {
    std::unique_lock lock(mutex_);
    if (operation.kind != OpKind::kSync || held_.empty() || operation.file != held_)
      return std::nullopt;
    waiting_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return held_.empty(); });
    return err_ != 0 ? std::optional(Fault{.err = err_}) : std::nullopt;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string held_;
  bool waiting_ = false;
  int err_ = 0;
};

class SyncWaitTest : public testing::TestWithParam<int> {};

TEST_P(SyncWaitTest, AFlushWaitsForASyncThatAnotherWriteStarted) {
  MemoryFileSystem memory;
  ASSERT_OK(build_split_sparse(memory, "/vm/d.vmdk",
                               {SparseSpec{.capacity = kMiB}, SparseSpec{.capacity = kMiB}}));
  SlowFileSystem files(memory);
  OpenOptions options;
  options.commit_interval = std::chrono::milliseconds::zero();
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files, "/vm/d.vmdk", options));
  const auto bytes = filled(4096, 'a');
  ASSERT_OK(disk->write(DiskOffset(0), bytes));
  ASSERT_OK(disk->flush());
  ASSERT_OK(disk->write(DiskOffset(0), bytes));  // in place: only the file is unsynced

  files.hold("/vm/d-s001.vmdk");
  std::thread first_write([&] {
    // Puts the mark into the second extent, and syncs all files for that.
    const Status written = disk->write(DiskOffset(kMiB), bytes);
    EXPECT_EQ(written.has_value(), GetParam() == 0);
  });
  files.wait_until_syncing();
  auto flush = std::async(std::launch::async, [&] { return disk->flush(); });
  EXPECT_EQ(flush.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  files.let_go(GetParam());
  first_write.join();
  const Status flushed = flush.get();
  EXPECT_EQ(flushed.has_value(), GetParam() == 0) << "the failure is also this caller's";
  if (GetParam() == 0) {
    EXPECT_OK(disk->close());
  }
}

INSTANTIATE_TEST_SUITE_P(Outcomes, SyncWaitTest, testing::Values(0, EIO));

}  // namespace
}  // namespace vmdk::test
