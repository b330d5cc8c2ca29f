#include "fuse/open_modes.h"

#include <fcntl.h>

#include <gtest/gtest.h>

namespace vmdkfuse {
namespace {

TEST(OpenModesTest, FirstOpenersModeHoldsUntilTheLastClose) {
  OpenModes modes(false);
  const auto direct = modes.open(O_RDWR | O_DIRECT);
  EXPECT_TRUE(direct.handle.direct());
  const auto follower = modes.open(O_RDONLY);
  EXPECT_TRUE(follower.handle.direct());
  modes.close(direct.handle);
  EXPECT_TRUE(modes.open(O_RDONLY).handle.direct());
  modes.close(follower.handle);
  EXPECT_TRUE(modes.close(Handle(false, true, false, 1)).last);
  EXPECT_FALSE(modes.open(O_RDONLY).handle.direct());
}

TEST(OpenModesTest, DirectOpenerBesideCachedOnesIsCached) {
  OpenModes modes(false);
  modes.open(O_RDONLY);
  EXPECT_FALSE(modes.open(O_RDWR | O_DIRECT).handle.direct());
}

TEST(OpenModesTest, WithoutCacheEverybodyIsDirect) {
  OpenModes modes(true);
  EXPECT_TRUE(modes.open(O_RDONLY).handle.direct());
  EXPECT_TRUE(modes.open(O_RDWR).handle.direct());
}

TEST(OpenModesTest, CacheIsRenewedAfterDirectWriters) {
  OpenModes modes(false);
  modes.close(modes.open(O_RDWR | O_DIRECT).handle);
  const auto first = modes.open(O_RDONLY);
  EXPECT_TRUE(first.handle.renews_cache());
  // The first one's answer may still be on its way.
  const auto second = modes.open(O_RDONLY);
  EXPECT_TRUE(second.handle.renews_cache());
  modes.close(first.handle);
  EXPECT_FALSE(modes.open(O_RDONLY).handle.renews_cache());
}

TEST(OpenModesTest, DirectReadersLeaveTheCacheGood) {
  OpenModes modes(false);
  modes.close(modes.open(O_RDONLY | O_DIRECT).handle);
  EXPECT_FALSE(modes.open(O_RDONLY).handle.renews_cache());
}

TEST(OpenModesTest, WritersAreCounted) {
  OpenModes modes(false);
  const auto reader = modes.open(O_RDONLY);
  EXPECT_FALSE(reader.first_writer);
  EXPECT_FALSE(modes.has_writers());
  const auto first = modes.open(O_WRONLY);
  EXPECT_TRUE(first.first_writer);
  const auto second = modes.open(O_RDWR);
  EXPECT_FALSE(second.first_writer);
  EXPECT_TRUE(modes.has_writers());
  EXPECT_FALSE(modes.close(first.handle).last_writer);
  const auto closed = modes.close(second.handle);
  EXPECT_TRUE(closed.last_writer);
  EXPECT_FALSE(closed.last);
  EXPECT_FALSE(modes.has_writers());
  EXPECT_FALSE(modes.close(reader.handle).last_writer);
}

TEST(OpenModesTest, HandlesAreToldApart) {
  OpenModes modes(false);
  const auto first = modes.open(O_RDWR);
  const auto second = modes.open(O_RDWR);
  EXPECT_NE(first.handle.bits(), second.handle.bits());
  EXPECT_NE(modes.open(O_RDONLY).handle.bits(), 0) << "0 means no handle";
}

TEST(OpenModesTest, HandleTravelsAsANumber) {
  for (const bool writable : {false, true}) {
    for (const bool direct : {false, true}) {
      for (const bool renews : {false, true}) {
        const Handle back(Handle(writable, direct, renews, 7).bits());
        EXPECT_EQ(back.writable(), writable);
        EXPECT_EQ(back.direct(), direct);
        EXPECT_EQ(back.renews_cache(), renews);
      }
    }
  }
}

}  // namespace
}  // namespace vmdkfuse
