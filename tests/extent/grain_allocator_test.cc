#include "extent/grain_allocator.h"

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "extent/request_epochs.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 64 * kKiB;
constexpr std::uint64_t kBegin = 2 * kGrain;  // of the space behind the metadata

TEST(RequestEpochsTest, ATagPassesWhenAllWhoWereInsideHaveLeft) {
  RequestEpochs epochs;
  EXPECT_TRUE(epochs.passed(epochs.now())) << "nobody is inside";
  auto first = epochs.enter();
  const std::uint64_t tag = epochs.now();
  EXPECT_FALSE(epochs.passed(tag));
  first.leave();
  EXPECT_TRUE(epochs.passed(tag));
}

TEST(RequestEpochsTest, NewcomersDoNotHoldUpAnOlderTag) {
  RequestEpochs epochs;
  auto old = epochs.enter();
  const std::uint64_t tag = epochs.now();
  EXPECT_FALSE(epochs.passed(tag));  // moves the epoch on
  ASSERT_GT(epochs.now(), tag);
  const auto newcomer = epochs.enter();
  EXPECT_FALSE(epochs.passed(tag));
  old.leave();
  EXPECT_TRUE(epochs.passed(tag));
  EXPECT_FALSE(epochs.passed(epochs.now()));
}

TEST(RequestEpochsTest, AMovedGuardLeavesOnce) {
  RequestEpochs epochs;
  const std::uint64_t tag = epochs.now();
  {
    auto first = epochs.enter();
    const auto second = std::move(first);
    EXPECT_FALSE(epochs.passed(tag));
  }
  EXPECT_TRUE(epochs.passed(tag));
}

FreedList list_of(std::vector<std::uint32_t> sectors) {
  FreedList list;
  list.push_back({.sectors = std::move(sectors)});
  return list;
}

class GrainAllocatorTest : public testing::Test {
 protected:
  GrainAllocator make(std::uint32_t batch = 512, std::uint64_t file_size = kBegin,
                      std::uint64_t grains = 100'000) {
    return GrainAllocator({.grain_bytes = kGrain,
                           .grain_count = grains,
                           .file_size = file_size,
                           .used_end = kBegin,
                           .batch = batch},
                          epochs_);
  }

  // Reserves all `count` grains, checks that no grain of the file is handed out twice, and returns
  // where the first one is.
  std::uint64_t take(GrainAllocator& allocator, std::uint64_t first, std::uint64_t count,
                     bool partial = false) {
    std::uint64_t begin = 0;
    for (std::uint64_t done = 0; done < count;) {
      const auto space = allocator.reserve(first + done, count - done, partial);
      EXPECT_OK(space);
      if (!space)
        return 0;
      EXPECT_GT(space->count, 0U);
      EXPECT_LE(space->count, count - done);
      for (std::uint64_t i = 0; i < space->count; ++i)
        EXPECT_TRUE(used_.insert(space->where.bytes() + i * kGrain).second) << "handed out twice";
      if (done == 0)
        begin = space->where.bytes();
      done += space->count;
    }
    return begin;
  }

  RequestEpochs epochs_;
  std::set<std::uint64_t> used_;
};

TEST_F(GrainAllocatorTest, FreshSpaceBeginsBehindTheFile) {
  auto allocator = make(512, kBegin + 1);
  ASSERT_OK_AND_ASSIGN(const GrainSpace space, allocator.reserve(5, 3, true));
  EXPECT_EQ(space.where.bytes(), kBegin + kGrain) << "a grain starts at a whole grain";
  EXPECT_EQ(space.count, 3U);
  EXPECT_TRUE(space.fresh);
  EXPECT_EQ(allocator.next(), kBegin + 4 * kGrain);
  EXPECT_EQ(allocator.settle_end(), kBegin);
  allocator.note_used(kBegin + 4 * kGrain);
  allocator.note_used(kBegin + 2 * kGrain);
  EXPECT_EQ(allocator.settle_end(), kBegin + 4 * kGrain);
}

TEST_F(GrainAllocatorTest, WhatEntriesDoNotReachIsNoSpace) {
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 41U;
  auto allocator = make(1, 2 * kLimit);
  allocator.add_unused(FileOffset(kLimit - kGrain), 2);
  allocator.add_unused(FileOffset(kLimit + kGrain), 1);
  EXPECT_EQ(take(allocator, 0, 1), kLimit - kGrain);
  EXPECT_EQ(allocator.reserve(1, 1, false).error().code(), ErrorCode::kNoSpace);
}

TEST_F(GrainAllocatorTest, AStreamLiesInTheFileAsOnTheDisk) {
  auto allocator = make();
  const std::uint64_t begin = take(allocator, 100, 2);
  for (std::uint64_t i = 1; i < 500; ++i)
    EXPECT_EQ(take(allocator, 100 + 2 * i, 2), begin + 2 * i * kGrain);
}

TEST_F(GrainAllocatorTest, OrderOfArrivalDoesNotMatterToAStream) {
  auto allocator = make();
  const std::uint64_t begin = take(allocator, 0, 2);
  take(allocator, 2, 2);  // it is a stream: a window opens
  for (std::uint64_t base = 4; base < 2000; base += 8)
    for (const std::uint64_t step : {4U, 0U, 6U, 2U})
      take(allocator, base + step, 2);
  // Whatever the order, each window is in order: nearly all neighbours are neighbours.
  const std::uint64_t last = *used_.rbegin();
  EXPECT_LE((last - begin) / kGrain, 2100U) << "the windows leave large gaps";
}

TEST_F(GrainAllocatorTest, RequestsThatOvertakeEachOtherBetweenTwoWindowsLeaveOneRun) {
  constexpr std::uint64_t kRequest = 16;
  auto allocator = make();
  const std::uint64_t begin = take(allocator, 0, kRequest);
  // The first window is of four requests. Its last one comes after the first of the next window.
  std::vector<std::uint64_t> order = {1, 2, 3, 5, 4};
  for (std::uint64_t request = 6; request < 512; ++request)
    order.push_back(request);
  for (const std::uint64_t request : order)
    EXPECT_EQ(take(allocator, request * kRequest, kRequest), begin + request * kRequest * kGrain)
        << "request " << request;
}

TEST_F(GrainAllocatorTest, ReversedNeighboursInOneWindowAreInOrder) {
  auto allocator = make();
  const std::uint64_t begin = take(allocator, 0, 1);
  const std::uint64_t later = take(allocator, 3, 1);
  const std::uint64_t earlier = take(allocator, 2, 1);
  EXPECT_EQ(later, begin + 3 * kGrain);
  EXPECT_EQ(earlier, begin + 2 * kGrain);
}

TEST_F(GrainAllocatorTest, StreamsDoNotMix) {
  auto allocator = make();
  std::uint64_t neighbours = 0;
  std::vector<std::uint64_t> last(4, 0);
  for (std::uint64_t i = 0; i < 400; ++i) {
    for (std::uint64_t stream = 0; stream < last.size(); ++stream) {
      const std::uint64_t here = take(allocator, stream * 20'000 + i, 1);
      neighbours += here == last[stream] + kGrain ? 1U : 0U;
      last[stream] = here;
    }
  }
  // A stream of 400 grains lies in a handful of pieces, not grain by grain in turn.
  EXPECT_GE(neighbours, 4 * 390U);
}

TEST_F(GrainAllocatorTest, RandomWritesReserveNothingAhead) {
  auto allocator = make();
  for (std::uint64_t i = 0; i < 200; ++i)
    take(allocator, (i * 7919) % 90'000, 1, true);
  EXPECT_LE(allocator.next(), kBegin + 200 * kGrain + 16 * kGrain);
}

TEST_F(GrainAllocatorTest, ABatchOfOneReservesNothingAhead) {
  auto allocator = make(1);
  for (std::uint64_t i = 0; i < 50; ++i)
    take(allocator, i, 1);
  EXPECT_EQ(allocator.next(), kBegin + 50 * kGrain);
}

TEST_F(GrainAllocatorTest, WindowsEndWithTheExtent) {
  auto allocator = make(512, kBegin, 20);
  for (std::uint64_t i = 0; i < 20; ++i)
    take(allocator, i, 1);
  EXPECT_LE(allocator.next(), kBegin + 20 * kGrain);
}

TEST_F(GrainAllocatorTest, TheRestOfAnIdleStreamStaysFresh) {
  auto allocator = make();
  take(allocator, 0, 1);
  take(allocator, 1, 1);  // a window behind it
  const std::uint64_t end = allocator.next();
  ASSERT_GT(end, kBegin + 2 * kGrain);
  allocator.tick();  // was active until now
  allocator.tick();  // idle for a whole interval
  ASSERT_OK_AND_ASSIGN(const GrainSpace rest, allocator.reserve(50'000, 1, true));
  EXPECT_LT(rest.where.bytes(), end);
  EXPECT_TRUE(rest.fresh);
  EXPECT_EQ(allocator.next(), end);
}

TEST_F(GrainAllocatorTest, AnActiveStreamKeepsItsWindow) {
  auto allocator = make();
  const std::uint64_t begin = take(allocator, 0, 1);
  for (std::uint64_t i = 1; i < 6; ++i) {
    EXPECT_EQ(take(allocator, i, 1), begin + i * kGrain);
    allocator.tick();
  }
}

TEST_F(GrainAllocatorTest, WholeGrainsTakeSpareSpaceAndPartialOnesFresh) {
  auto allocator = make(1, kBegin + 12 * kGrain);
  allocator.add_unused(FileOffset(kBegin), 2);
  ASSERT_OK_AND_ASSIGN(const GrainSpace partial, allocator.reserve(500, 1, true));
  EXPECT_TRUE(partial.fresh);
  EXPECT_EQ(partial.where.bytes(), kBegin + 12 * kGrain);
  ASSERT_OK_AND_ASSIGN(const GrainSpace whole, allocator.reserve(600, 2, false));
  EXPECT_FALSE(whole.fresh);
  EXPECT_EQ(whole.where.bytes(), kBegin);
  ASSERT_OK_AND_ASSIGN(const GrainSpace next, allocator.reserve(700, 1, false));
  EXPECT_TRUE(next.fresh) << "no spare space is left";
}

TEST_F(GrainAllocatorTest, PartialGrainsTakeSpareSpaceWhereItIsPlenty) {
  auto allocator = make(8, kBegin + 30 * kGrain);
  allocator.add_unused(FileOffset(kBegin), 9);  // of 32: more than a quarter, and than a batch
  ASSERT_OK_AND_ASSIGN(const GrainSpace first, allocator.reserve(500, 1, true));
  EXPECT_EQ(first.where.bytes(), kBegin);
  EXPECT_FALSE(first.fresh) << "old bytes are there";
  ASSERT_OK_AND_ASSIGN(const GrainSpace second, allocator.reserve(700, 1, true));
  EXPECT_TRUE(second.fresh) << "what is left is a quarter";
}

TEST_F(GrainAllocatorTest, PlentyOfSpareSpaceIsUsedInPieces) {
  auto allocator = make(4, kBegin + 30 * kGrain);
  for (std::uint64_t i = 0; i < 10; ++i)
    allocator.add_unused(FileOffset(kBegin + 3 * i * kGrain), 2);
  for (const bool partial : {true, false}) {
    ASSERT_OK_AND_ASSIGN(const GrainSpace some, allocator.reserve(partial ? 500 : 700, 5, partial));
    EXPECT_EQ(some.where.bytes(), kBegin + (partial ? 0 : 3 * kGrain));
    EXPECT_EQ(some.count, 2U);
    EXPECT_FALSE(some.fresh);
  }
}

TEST_F(GrainAllocatorTest, GivenBackSpaceIsNeverFresh) {
  auto allocator = make(1);
  ASSERT_OK_AND_ASSIGN(const GrainSpace space, allocator.reserve(500, 2, false));
  allocator.give_back(space);
  ASSERT_OK_AND_ASSIGN(const GrainSpace again, allocator.reserve(900, 2, false));
  EXPECT_EQ(again.where, space.where);
  EXPECT_FALSE(again.fresh);
}

TEST_F(GrainAllocatorTest, UnreservedSpaceStaysWhatItWas) {
  auto allocator = make(1, kBegin + 4 * kGrain);
  ASSERT_OK_AND_ASSIGN(const GrainSpace fresh, allocator.reserve(500, 2, true));
  allocator.unreserve(fresh);
  ASSERT_OK_AND_ASSIGN(const GrainSpace again, allocator.reserve(900, 2, true));
  EXPECT_EQ(again.where, fresh.where);
  EXPECT_TRUE(again.fresh);
  allocator.add_unused(FileOffset(kBegin), 1);
  ASSERT_OK_AND_ASSIGN(const GrainSpace spare, allocator.reserve(1000, 1, false));
  allocator.unreserve(spare);
  ASSERT_OK_AND_ASSIGN(const GrainSpace spare_again, allocator.reserve(1100, 1, false));
  EXPECT_EQ(spare_again.where, spare.where);
  EXPECT_FALSE(spare_again.fresh);
}

TEST_F(GrainAllocatorTest, UnreservedSpaceOfAWindowGoesBackIntoIt) {
  auto allocator = make();
  const std::uint64_t begin = take(allocator, 0, 1);
  ASSERT_OK_AND_ASSIGN(const GrainSpace space, allocator.reserve(1, 2, false));
  allocator.unreserve(space);
  ASSERT_OK_AND_ASSIGN(const GrainSpace again, allocator.reserve(1, 2, false));
  EXPECT_EQ(again.where, space.where);
  EXPECT_EQ(again.where.bytes(), begin + kGrain);
  EXPECT_TRUE(again.fresh);
}

TEST_F(GrainAllocatorTest, FreedGrainsAreUsedAgainOnlyWhenNobodyCanSeeThem) {
  auto allocator = make(1, kBegin + 4 * kGrain);
  const auto sector = static_cast<std::uint32_t>((kBegin + kGrain) / kSectorSize);
  allocator.freed(list_of({sector}));
  const auto take_whole = [&] { return allocator.reserve(500, 1, false)->where.bytes(); };
  EXPECT_NE(take_whole(), kBegin + kGrain) << "no commit has dropped it";
  FreedList freed = allocator.take_freed();
  ASSERT_EQ(freed.size(), 1U);
  EXPECT_EQ(freed.front().sectors, std::vector{sector});
  EXPECT_TRUE(allocator.take_freed().empty());
  EXPECT_NE(take_whole(), kBegin + kGrain);
  allocator.freed(std::move(freed));  // the commit failed
  freed = allocator.take_freed();
  ASSERT_EQ(freed.size(), 1U);
  EXPECT_EQ(freed.front().sectors, std::vector{sector});
  {
    const auto reader = epochs_.enter();
    allocator.release(std::move(freed));
    EXPECT_NE(take_whole(), kBegin + kGrain) << "a request may still read it";
    EXPECT_NE(take_whole(), kBegin + kGrain);
  }
  ASSERT_OK_AND_ASSIGN(const GrainSpace again, allocator.reserve(500, 1, false));
  EXPECT_EQ(again.where.bytes(), kBegin + kGrain);
  EXPECT_FALSE(again.fresh);
}

TEST_F(GrainAllocatorTest, OddlyPlacedGrainsAreNotUsedAgain) {
  auto allocator = make(1, kBegin + 4 * kGrain);
  allocator.release(list_of({static_cast<std::uint32_t>(kBegin / kSectorSize) + 3}));
  ASSERT_OK_AND_ASSIGN(const GrainSpace space, allocator.reserve(0, 1, false));
  EXPECT_TRUE(space.fresh);
}

TEST_F(GrainAllocatorTest, FreedNeighboursJoin) {
  auto allocator = make(1, kBegin + 4 * kGrain);
  const auto sector = [](std::uint64_t slot) {
    return static_cast<std::uint32_t>((kBegin + slot * kGrain) / kSectorSize);
  };
  allocator.release(list_of({sector(2), sector(0), sector(1)}));
  ASSERT_OK_AND_ASSIGN(const GrainSpace space, allocator.reserve(0, 3, false));
  EXPECT_EQ(space.where.bytes(), kBegin);
  EXPECT_EQ(space.count, 3U);
}

TEST_F(GrainAllocatorTest, NoGrainStartsBehindTheLastSectorOfAnEntry) {
  constexpr std::uint64_t kEnd = (std::uint64_t{1} << 32U) * kSectorSize;
  auto allocator = make(512, kEnd - 4 * kGrain);
  ASSERT_OK_AND_ASSIGN(const GrainSpace first, allocator.reserve(500, 1, false));
  EXPECT_EQ(first.where.bytes(), kEnd - 4 * kGrain);
  // More than is left: as many as one place has, never beyond the end.
  std::uint64_t got = 1;
  for (;;) {
    const auto space = allocator.reserve(600 + got, 8, false);
    if (!space) {
      EXPECT_THAT(space, IsError(ErrorCode::kNoSpace));
      break;
    }
    got += space->count;
    ASSERT_LE(space->where.bytes() + space->count * kGrain, kEnd);
    ASSERT_LE(got, 4U);
  }
  EXPECT_EQ(got, 4U);
}

TEST_F(GrainAllocatorTest, AWindowInSpareSpaceIsNotFresh) {
  auto allocator = make();
  allocator.add_unused(FileOffset(kBegin - kGrain), 1);
  allocator.give_back({FileOffset(kBegin + 1000 * kGrain), 400, false});
  ASSERT_OK_AND_ASSIGN(const GrainSpace seed, allocator.reserve(0, 16, true));
  EXPECT_TRUE(seed.fresh);
  ASSERT_OK_AND_ASSIGN(const GrainSpace whole, allocator.reserve(16, 16, false));
  EXPECT_EQ(whole.where.bytes(), kBegin + 1000 * kGrain);
  EXPECT_FALSE(whole.fresh) << "old bytes are there";
  ASSERT_OK_AND_ASSIGN(const GrainSpace part, allocator.reserve(32, 1, true));
  EXPECT_EQ(part.where.bytes(), kBegin + 1016 * kGrain) << "in the window";
  EXPECT_FALSE(part.fresh) << "old bytes are there";
  allocator.tick();
  allocator.tick();
  ASSERT_OK_AND_ASSIGN(const GrainSpace rest, allocator.reserve(5000, 20, false));
  EXPECT_FALSE(rest.fresh) << "the window's rest is spare again";
}

TEST_F(GrainAllocatorTest, ReservationsEndWhenSpaceIsShort) {
  constexpr std::uint64_t kEnd = (std::uint64_t{1} << 32U) * kSectorSize;
  auto allocator = make(512, kEnd - 12 * kGrain);
  take(allocator, 0, 1);
  take(allocator, 1, 1);  // a window of 8 from here on
  for (std::uint64_t i = 0; i < 10; ++i)
    take(allocator, 1000 + 500 * i, 1);  // also what the window had reserved
  EXPECT_THAT(allocator.reserve(50'000, 1, false), IsError(ErrorCode::kNoSpace));
  EXPECT_EQ(used_.size(), 12U);
}

}  // namespace
}  // namespace vmdk::test
