// The daemon is killed at any moment, again and again, in the middle of writes and syncs.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <vmdk/check.h>
#include <vmdk/disk.h>

#include "io/posix_file_system.h"
#include "mount/mount_test.h"
#include "support/boundary_random.h"
#include "support/esx_builder.h"
#include "support/matchers.h"
#include "support/reference_disk.h"

namespace vmdkfuse::test {
namespace {

using vmdk::test::BoundaryRandom;
using vmdk::test::ReferenceDisk;
using vmdk::test::SectorHistory;

constexpr std::size_t kLongestWrite = 300 * vmdk::kKiB;
constexpr int kMostOperations = 400;

int rounds() {
  return soak() ? 200 : 12;
}

class KillTest : public MountTest {
 protected:
  std::vector<std::byte> read_disk(std::uint64_t at, std::size_t length) {
    vmdk::OpenOptions options;
    options.access = vmdk::Access::kReadOnly;
    if (!disk_) {
      auto disk = vmdk::Disk::open(file_system_, path("disk.vmdk"), options);
      EXPECT_TRUE(vmdk::test::succeeded(disk));
      if (!disk)
        return std::vector<std::byte>(length);
      disk_ = *std::move(disk);
    }
    std::vector<std::byte> bytes(length);
    const auto got = disk_->read(vmdk::DiskOffset(at), bytes);
    EXPECT_TRUE(got && *got == length);
    return bytes;
  }

  // Writes and syncs until the daemon is gone; what it tells of each goes into `history`.
  std::size_t write_until_killed(SectorHistory& history, BoundaryRandom& random) {
    const pid_t victim = daemon();
    const std::chrono::microseconds life(random.below(120000));
    std::thread killer([victim, life] {
      std::this_thread::sleep_for(life);
      kill(victim, SIGKILL);
    });
    const int file = open(path("flat").c_str(), O_RDWR | O_CLOEXEC);
    std::size_t point = 0;
    for (int i = 0; file >= 0 && i < kMostOperations; ++i) {
      if (random.one_in(6)) {
        if (fsync(file) != 0)
          break;
        history.flushed(++point);
        ++syncs_;
        continue;
      }
      const auto [at, length] = random.range(kLongestWrite);
      const std::vector<std::byte> bytes = random.fill(length);
      history.write(point++, at, bytes);
      if (pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at)) < 0)
        break;
    }
    killer.join();
    if (file >= 0)
      close(file);
    return point;
  }

  // Mounts with `mount_it`, kills the daemon, and compares disk.vmdk with what may be in it, again
  // and again. `known`: what the disk shows at first.
  void survive_kills(const std::function<void(const std::string& options)>& mount_it,
                     ReferenceDisk known) {
    RecordProperty("rounds", rounds());
    BoundaryRandom random({.capacity = kDiskSize});
    for (int round = 0; round < rounds(); ++round) {
      SCOPED_TRACE("round " + std::to_string(round));
      const char* const cache = round % 2 == 0 ? "writeback" : "writethrough";
      mount_it(std::string("--commit=1 --cache=") + cache);
      if (HasFatalFailure())
        return;
      SectorHistory history(known);
      const std::size_t point = write_until_killed(history, random);
      ASSERT_TRUE(daemon_ends());
      ASSERT_TRUE(shell("fusermount3 -u flat; rm -f pid"));

      const auto report = vmdk::check_image(file_system_, path("disk.vmdk"), {});
      ASSERT_TRUE(vmdk::test::succeeded(report));
      EXPECT_TRUE(report->exit_code() == 0 || report->exit_code() == 3) << report->exit_code();

      disk_.reset();
      ASSERT_EQ(history.check(point, [&](std::uint64_t at,
                                         std::size_t length) { return read_disk(at, length); }),
                std::nullopt);
      known = ReferenceDisk(kDiskSize);
      known.write(0, read_disk(0, kDiskSize));
      disk_.reset();
    }
    EXPECT_GT(syncs_, 0U) << "no round lived long enough to prove anything";
  }

  vmdk::PosixFileSystem file_system_;
  std::unique_ptr<vmdk::Disk> disk_;
  std::uint64_t syncs_ = 0;
};

TEST_F(KillTest, NothingSyncedIsLostAndNothingElseAppears) {
  create();
  survive_kills([this](const std::string& options) { mount(options); }, ReferenceDisk(kDiskSize));
}

TEST_F(KillTest, AnImageUnderAnOverlayStaysAsItIs) {
  create("base.vmdk");
  std::vector<std::byte> content(kDiskSize);
  {
    BoundaryRandom random({.capacity = kDiskSize});
    vmdk::OpenOptions options;
    auto base = vmdk::Disk::open(file_system_, path("base.vmdk"), options);
    ASSERT_OK(base);
    const std::vector<std::byte> first = random.fill(kDiskSize / 2);
    std::copy(first.begin(), first.end(), content.begin());
    ASSERT_OK((*base)->write(vmdk::DiskOffset(0), first));
    ASSERT_OK((*base)->close());
  }
  const auto base_state = [this] {
    return shell_output("sha256sum base.vmdk; stat -c '%s %y %z' base.vmdk");
  };
  const std::string before = base_state();
  ReferenceDisk known(kDiskSize);
  known.write(0, content);
  survive_kills(
      [this](const std::string& options) {
        std::ofstream(path("flat")).flush();
        const auto result =
            vmdkfuse("--pid-file=pid --overlay=disk.vmdk " + options + " base.vmdk flat");
        ASSERT_EQ(result.status, 0) << result.to_text();
      },
      known);
  EXPECT_EQ(base_state(), before);
}

// A delta of ESX, which gets its tables while it is written.
TEST_F(KillTest, NorInADelta) {
  create("base.vmdk");
  vmdk::test::DescriptorSpec descriptor;
  {
    vmdk::OpenOptions options;
    options.access = vmdk::Access::kReadOnly;
    ASSERT_OK_AND_ASSIGN(const auto base,
                         vmdk::Disk::open(file_system_, path("base.vmdk"), options));
    descriptor.parent_cid = base->info().layers[0].cid;
  }
  descriptor.parent_hint = "base.vmdk";
  ASSERT_OK(vmdk::test::build_cowd_disk(file_system_, path("disk.vmdk"), {.capacity = kDiskSize},
                                        descriptor));
  survive_kills([this](const std::string& options) { mount(options); }, ReferenceDisk(kDiskSize));
}

}  // namespace
}  // namespace vmdkfuse::test
