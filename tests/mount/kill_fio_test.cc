// The daemon is killed under fio, again and again. fio writes synchronously and keeps a record of
// what was answered; afterwards it verifies just that: all of it was promised to be there.
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "mount/mount_test.h"
#include "support/boundary_random.h"

namespace vmdkfuse::test {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using vmdk::test::BoundaryRandom;

constexpr std::uint64_t kSize = 64 * vmdk::kMiB;
// Behind the start of fio, which takes about a third of a second.
constexpr std::uint64_t kShortestLifeMicroseconds = 200'000;
constexpr std::uint64_t kLongestLifeMicroseconds = 700'000;
constexpr seconds kLongestRemount(5);

struct Load {
  const char* cache;
  const char* fio;
};

// Through the page cache, where each write is followed by an fsync, and around it.
constexpr Load kLoads[] = {
    {"writeback", "--bs=4k"},
    {"none", "--direct=1 --bsrange=4k-64k"},
    {"writethrough", "--direct=1 --bs=16k"},
};

// Each with one request at a time: of several, fio does not keep which of them failed.
constexpr int kWriters = 4;

class KillFioTest : public MountTest {
 protected:
  std::string fio(int round, const std::string& more) const {
    return "fio --name=v --filename=flat --size=12M --offset_increment=12M --rw=randwrite "
           "--ioengine=psync --verify=crc32c --numjobs=" +
           std::to_string(kWriters) +
           " "
           "--verify_fatal=1 --allrandrepeat=1 --randseed=" +
           std::to_string(1000 + round) + " " + load(round).fio + " " + more + " --output=report";
  }

  static const Load& load(int round) { return kLoads[static_cast<unsigned>(round) % 3]; }

  void write_until_killed(int round, BoundaryRandom& random) {
    const microseconds life(kShortestLifeMicroseconds +
                            random.below(kLongestLifeMicroseconds - kShortestLifeMicroseconds));
    std::thread killer([victim = daemon(), life] {
      std::this_thread::sleep_for(life);
      kill(victim, SIGKILL);
    });
    // It may end before the daemon does, or never get to writing.
    in_folder(fio(round, "--sync=1 --do_verify=0 --verify_state_save=1"));
    killer.join();
    expect_exit(128 + SIGKILL);
  }

  void round(int number, BoundaryRandom& random) {
    shell("rm -f local-v-*-verify.state");
    start(std::string("--commit=1 --cache=") + load(number).cache + " disk.vmdk flat");
    ASSERT_FALSE(HasFatalFailure());
    write_until_killed(number, random);
    EXPECT_EQ(vmdkfuse("-u flat").status, 4);
    std::filesystem::remove(path("pid"));
    expect_check("disk.vmdk", {0, 3});

    const auto begin = steady_clock::now();
    start();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_LT(steady_clock::now() - begin, kLongestRemount);
    if (shell_output("ls local-v-*-verify.state | wc -l") == std::to_string(kWriters)) {
      EXPECT_TRUE(shell(fio(number, "--verify_only --verify_state_load=1") +
                        " || { cat report; exit 1; }"));
      ++verified_;
    }
    // Who only reads leaves the mark of the killed daemon where it is.
    EXPECT_TRUE(shell("dd if=/dev/zero of=flat bs=1M seek=60 count=1 conv=notrunc status=none"));
    end(0);
    expect_check("disk.vmdk");
  }

  int verified_ = 0;
};

TEST_F(KillFioTest, WhatWasAnsweredVerifies) {
  NEEDS_PROGRAM("fio");
  BoundaryRandom random({.capacity = kSize});
  create("disk.vmdk", kSize);
  const int rounds = soak() ? 200 : 25;
  for (int i = 0; i < rounds; ++i) {
    SCOPED_TRACE("round " + std::to_string(i));
    round(i, random);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(verified_, rounds / 2) << "too few rounds came to writing";
  RecordProperty("rounds_verified", verified_);
}

}  // namespace
}  // namespace vmdkfuse::test
