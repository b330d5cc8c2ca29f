#include "fuse/listeners.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace vmdkfuse::test {
namespace {

using namespace std::chrono_literals;

TEST(ListenersTest, OnlySoManyListen) {
  Listeners listeners(2);
  EXPECT_TRUE(listeners.enter());
  EXPECT_TRUE(listeners.enter());
  std::atomic<bool> in{false};
  std::thread third([&] { in = listeners.enter(); });
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(in);
  listeners.leave();
  EXPECT_FALSE(listeners.needs_listener());  // the other one
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(in);
  listeners.leave();
  EXPECT_FALSE(listeners.needs_listener());  // the parked one
  third.join();
  EXPECT_TRUE(in);
}

TEST(ListenersTest, ANewOneIsWantedWhenNobodyIsParked) {
  Listeners listeners(1);
  EXPECT_TRUE(listeners.enter());
  EXPECT_FALSE(listeners.needs_listener());
  listeners.leave();
  EXPECT_TRUE(listeners.needs_listener());
  EXPECT_FALSE(listeners.needs_listener());  // it listens already
  listeners.leave();
  EXPECT_TRUE(listeners.needs_listener());
}

TEST(ListenersTest, TheEndLetsTheParkedGo) {
  Listeners listeners(1);
  EXPECT_TRUE(listeners.enter());
  std::atomic<int> left{0};
  std::vector<std::thread> parked;
  for (int i = 0; i < 3; ++i)
    parked.emplace_back([&] { left += listeners.enter() ? 0 : 1; });
  std::this_thread::sleep_for(50ms);
  listeners.end();
  for (std::thread& each : parked)
    each.join();
  EXPECT_EQ(left, 3);
  listeners.leave();
  EXPECT_FALSE(listeners.needs_listener());
}

}  // namespace
}  // namespace vmdkfuse::test
