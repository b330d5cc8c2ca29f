#include "extent/inflated_cache.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "extent/helper_threads.h"
#include "extent/sequence_detector.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kSize = 1000;

class InflatedCacheTest : public testing::Test {
 protected:
  static InflatedCache::Bytes bytes(unsigned value) {
    auto made = std::make_shared<std::byte[]>(kSize);
    made[0] = static_cast<std::byte>(value);
    return made;
  }

  InflatedCache::Key key(std::uint64_t grain) const { return {this, grain}; }

  bool is_here(std::uint64_t grain) { return cache_.look(key(grain)).bytes != nullptr; }

  void put(std::uint64_t grain) {
    ASSERT_TRUE(cache_.try_claim(key(grain)));
    cache_.publish(key(grain), bytes(static_cast<unsigned>(grain)), kSize);
  }

  InflatedCache cache_{3 * kSize};
};

TEST_F(InflatedCacheTest, TheLeastRecentlyUsedGoFirst) {
  for (const std::uint64_t grain : {1U, 2U, 3U})
    put(grain);
  EXPECT_EQ(cache_.bytes_in_memory(), 3 * kSize);
  EXPECT_TRUE(is_here(1));
  put(4);
  EXPECT_EQ(cache_.bytes_in_memory(), 3 * kSize);
  EXPECT_TRUE(is_here(1));
  EXPECT_TRUE(is_here(3));
  EXPECT_TRUE(is_here(4));
  EXPECT_TRUE(cache_.try_claim(key(2))) << "it should have gone";
  cache_.abandon(key(2));
}

TEST_F(InflatedCacheTest, WhatAReaderHasStaysWithIt) {
  put(1);
  const InflatedCache::Bytes held = cache_.look(key(1)).bytes;
  for (const std::uint64_t grain : {2U, 3U, 4U})
    put(grain);
  EXPECT_TRUE(cache_.try_claim(key(1)));
  EXPECT_EQ(held[0], std::byte{1});
  cache_.abandon(key(1));
}

TEST_F(InflatedCacheTest, ASecondReaderWaitsForTheFirst) {
  const auto mine = cache_.look(key(1));
  EXPECT_EQ(mine.bytes, nullptr);
  EXPECT_EQ(mine.work, nullptr);
  EXPECT_FALSE(cache_.try_claim(key(1)));
  const auto other = cache_.look(key(1));
  ASSERT_NE(other.work, nullptr);
  InflatedCache::Bytes got;
  std::thread waiter([&] { got = other.work->wait(); });
  cache_.publish(key(1), bytes(7), kSize);
  waiter.join();
  ASSERT_NE(got, nullptr);
  EXPECT_EQ(got[0], std::byte{7});
}

TEST_F(InflatedCacheTest, AnAbandonedGrainIsFreeAgain) {
  ASSERT_TRUE(cache_.try_claim(key(1)));
  const auto other = cache_.look(key(1));
  ASSERT_NE(other.work, nullptr);
  cache_.abandon(key(1));
  EXPECT_EQ(other.work->wait(), nullptr);
  EXPECT_TRUE(cache_.try_claim(key(1)));
  cache_.abandon(key(1));
}

TEST_F(InflatedCacheTest, ForgettingAnExtentLeavesTheOthers) {
  put(1);
  const InflatedCache::Key other{&cache_, 1};
  ASSERT_TRUE(cache_.try_claim(other));
  cache_.publish(other, bytes(9), kSize);
  cache_.forget(this);
  EXPECT_EQ(cache_.bytes_in_memory(), kSize);
  EXPECT_NE(cache_.look(other).bytes, nullptr);
  EXPECT_TRUE(cache_.try_claim(key(1)));
  cache_.abandon(key(1));
}

TEST(HelperThreadsTest, DismissWaitsForWhatRunsAndDropsTheRest) {
  HelperThreads helpers(2);
  std::atomic<int> done{0};
  int owner = 0;
  int other = 0;
  std::atomic<bool> running{false};
  std::atomic<bool> may_end{false};
  helpers.submit(&owner, [&] {
    running.store(true);
    while (!may_end.load())
      std::this_thread::yield();
    done.fetch_add(1);
  });
  while (!running.load())
    std::this_thread::yield();
  std::thread release([&] { may_end.store(true); });
  helpers.dismiss(&owner);
  EXPECT_EQ(done.load(), 1);
  release.join();
  helpers.submit(&other, [&] { done.fetch_add(1); });
  while (done.load() != 2)
    std::this_thread::yield();
}

TEST(HelperThreadsTest, TheEndJoinsThem) {
  std::atomic<int> running{0};
  {
    HelperThreads helpers(2);
    for (int i = 0; i < 100; ++i)
      helpers.submit(&running, [&] {
        running.fetch_add(1);
        std::this_thread::yield();
        running.fetch_sub(1);
      });
  }
  EXPECT_EQ(running.load(), 0);
}

TEST(SequenceDetectorTest, TwoStepsMakeAStreamWhoseWindowGrows) {
  SequenceDetector detector(64);
  EXPECT_EQ(detector.note(0, 2).count, 0U);
  EXPECT_EQ(detector.note(2, 4).count, 0U);
  std::uint64_t wanted = 6;
  std::uint64_t furthest = 0;
  for (std::uint64_t at = 4; at < 400; at += 2) {
    const auto ahead = detector.note(at, at + 2);
    if (ahead.count == 0)
      continue;
    EXPECT_EQ(ahead.first, wanted) << "nothing is said twice or left out";
    wanted = ahead.first + ahead.count;
    furthest = std::max(furthest, wanted - (at + 2));
    EXPECT_LE(wanted, at + 2 + 64);
  }
  EXPECT_EQ(furthest, 64U);
}

TEST(SequenceDetectorTest, RandomReadsAndRereadsWantNothing) {
  SequenceDetector detector(64);
  for (std::uint64_t i = 0; i < 100; ++i)
    EXPECT_EQ(detector.note(i * 7919 % 1000 * 100, i * 7919 % 1000 * 100 + 1).count, 0U) << i;
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(detector.note(5000, 5001).count, 0U);
}

TEST(SequenceDetectorTest, RequestsMayOvertakeEachOther) {
  SequenceDetector detector(64);
  std::uint64_t wanted = 0;
  for (const std::uint64_t at : {0U, 4U, 2U, 6U, 10U, 8U, 12U, 16U, 14U, 18U})
    wanted += detector.note(at, at + 2).count;
  EXPECT_GT(wanted, 8U);
}

}  // namespace
}  // namespace vmdk::test
