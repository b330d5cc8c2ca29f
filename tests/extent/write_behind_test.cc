#include "extent/write_behind.h"

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vmdk/units.h>

#include "extent/open_file.h"
#include "support/forwarding_file.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Range {
  std::uint64_t begin;
  std::uint64_t end;

  bool operator==(const Range&) const = default;
};

// Remembers what it was told to begin with; fails writes when it should.
class StartedFile final : public ForwardingFile {
 public:
  using ForwardingFile::ForwardingFile;

  Status write(FileOffset at, std::span<const iovec> parts) override {
    return broken ? Status(Error::from_errno(EIO, name())) : ForwardingFile::write(at, parts);
  }

  void start_writing(FileOffset at, std::uint64_t length) noexcept override {
    const std::lock_guard lock(mutex_);
    started_.push_back({at.bytes(), at.bytes() + length});
    changed_.notify_all();
  }

  // Waits for so many; what comes later is not seen.
  std::vector<Range> started(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return started_.size() >= count; });
    return started_;
  }

  bool broken = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Range> started_;  // guarded by mutex_
};

class WriteBehindTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(auto below, files_.create("/disk.vmdk"));
    auto started = std::make_unique<StartedFile>(std::move(below));
    started_ = started.get();
    file_ = std::make_unique<OpenFile>(std::move(started));
    helpers_ = std::make_unique<HelperThreads>(1);
    file_->write_behind(*helpers_);
  }

  Status write(std::uint64_t at, std::uint64_t length) {
    const iovec part{.iov_base = bytes_.data(), .iov_len = length};
    return file_->write(FileOffset(at), std::span(&part, 1));
  }

  // Everything that began by now.
  std::vector<Range> all() {
    helpers_.reset();
    return started_->started(0);
  }

  std::vector<std::byte> bytes_ = std::vector<std::byte>(kMiB);
  MemoryFileSystem files_;
  std::unique_ptr<OpenFile> file_;
  StartedFile* started_ = nullptr;
  std::unique_ptr<HelperThreads> helpers_;
};

TEST_F(WriteBehindTest, ALongRunIsBegunWithPieceByPiece) {
  for (std::uint64_t at = 0; at < 10 * kMiB; at += 128 * kKiB)
    ASSERT_OK(write(at, 128 * kKiB));
  EXPECT_THAT(started_->started(2), ElementsAre(Range{0, 4 * kMiB}, Range{4 * kMiB, 8 * kMiB}));
}

TEST_F(WriteBehindTest, RequestsThatOvertakeEachOtherAreOneRun) {
  for (const std::uint64_t at : {1U, 0U, 3U, 2U, 5U, 4U})
    ASSERT_OK(write(at * kMiB, kMiB));
  EXPECT_THAT(started_->started(1), ElementsAre(Range{kMiB, 6 * kMiB}));
}

TEST_F(WriteBehindTest, WritesHereAndThereAreLeftToTheSync) {
  for (std::uint64_t i = 0; i < 64; ++i)
    ASSERT_OK(write((i * 37 % 64) * 16 * kMiB, kMiB));
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(WriteBehindTest, ShortWritesAreLeftToTheSync) {
  for (std::uint64_t at = 0; at < 8 * kMiB; at += 32 * kKiB)
    ASSERT_OK(write(at, 32 * kKiB));
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(WriteBehindTest, AFailedWriteIsNoPartOfARun) {
  for (std::uint64_t at = 0; at < 3 * kMiB; at += kMiB)
    ASSERT_OK(write(at, kMiB));
  started_->broken = true;
  EXPECT_THAT(write(3 * kMiB, kMiB), FailsWith(EIO));
  EXPECT_TRUE(file_->has_unsynced_writes());
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(WriteBehindTest, WhatIsBegunWithIsStillToBeSynced) {
  for (std::uint64_t at = 0; at < 4 * kMiB; at += kMiB)
    ASSERT_OK(write(at, kMiB));
  started_->started(1);
  EXPECT_TRUE(file_->has_unsynced_writes());
}

}  // namespace
}  // namespace vmdk::test
