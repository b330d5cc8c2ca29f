// Overlays over bases of every kind, used as a laboratory uses them: mounted, written to, killed or
// unmounted, mounted again. What was synced is there, and the bases never change.
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
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
#include "support/stream_builder.h"
#include "support/tar_builder.h"

namespace vmdkfuse::test {
namespace {

using std::chrono::steady_clock;
using vmdk::test::BoundaryRandom;
using vmdk::test::DescriptorSpec;
using vmdk::test::ReferenceDisk;
using vmdk::test::SectorHistory;

constexpr std::size_t kLongestWrite = 200 * vmdk::kKiB;
constexpr std::uint64_t kMostOperations = 150;
constexpr std::uint64_t kLongestLifeMicroseconds = 200000;
constexpr std::uint64_t kStreamGrain = 64 * vmdk::kKiB;
constexpr std::uint64_t kSeSparseGrain = 4 * vmdk::kKiB;
constexpr int kShortRounds = 2;  // of each base

// How long to go on: VMDK_SOAK_SECONDS, an hour unless stated; without VMDK_SOAK, not at all.
std::chrono::seconds soak_time() {
  if (!soak())
    return std::chrono::seconds(0);
  const char* const seconds = std::getenv("VMDK_SOAK_SECONDS");
  return std::chrono::seconds(seconds != nullptr ? std::atoi(seconds) : 3600);
}

// An image in a folder of its own, and the overlay over it.
struct Base {
  std::string name;
  std::string image;  // in the test's folder
  ReferenceDisk content{kDiskSize};
  ReferenceDisk known{kDiskSize};  // through the overlay, when it was looked at last
  std::uint32_t cid = 0;
  std::string times;
  std::string sums;

  std::string overlay() const { return "over-" + name + ".vmdk"; }
};

class OverlaySoakTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    std::ofstream(path("flat")).flush();
    make_chain();
    make_stream();
    make_sesparse();
    make_archive();
    for (Base& base : bases_) {
      ASSERT_FALSE(HasFailure()) << base.name;
      base.known = base.content;
      base.cid = content_id(base);
      base.times = times(base);
      base.sums = sums(base);
    }
  }

  // mtime, ctime and size of all that is in the base's folder.
  std::string times(const Base& base) const {
    return shell_output("find " + base.name + " -type f -exec stat -c '%n %s %y %z' {} + | sort");
  }

  std::string sums(const Base& base) const {
    return shell_output("find " + base.name + " -type f -exec sha256sum {} + | sort");
  }

  std::uint32_t content_id(const Base& base) {
    vmdk::OpenOptions options;
    options.access = vmdk::Access::kReadOnly;
    const auto disk = vmdk::Disk::open(files_, path(base.image), options);
    EXPECT_OK(disk);
    return disk ? (*disk)->info().layers[0].cid : 0;
  }

  // Mounts the overlay, writes to it, ends it one way or the other, and looks at what is there.
  void live_once(Base& base) {
    if (random_.one_in(6)) {
      std::filesystem::remove(path(base.overlay()));
      base.known = base.content;
    }
    mount_over(base);
    if (HasFatalFailure())
      return;
    SectorHistory history(base.known);
    const bool killed = !random_.one_in(3);
    const std::size_t point = killed ? write_until_killed(history) : write_and_unmount(history);
    ASSERT_EQ(times(base), base.times);
    const auto report = vmdk::check_image(files_, path(base.overlay()), {});
    ASSERT_OK(report);
    ASSERT_TRUE(report->exit_code() == 0 || (killed && report->exit_code() == 3))
        << report->exit_code()
        << (report->findings.empty() ? std::string() : ": " + report->findings[0].text);

    mount_over(base);
    if (HasFatalFailure())
      return;
    look(base, history, point);
    unmount();
    ASSERT_EQ(times(base), base.times);
  }

  void look(Base& base, const SectorHistory& history, std::size_t point) {
    const int file = open(path("flat").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    const auto read = [file](std::uint64_t at, std::size_t length) {
      std::vector<std::byte> bytes(length);
      const ssize_t got = pread(file, bytes.data(), length, static_cast<off_t>(at));
      bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
      return bytes;
    };
    EXPECT_EQ(history.check(point, read), std::nullopt) << base.name;
    base.known.write(0, read(0, kDiskSize));
    close(file);
  }

  std::vector<Base> bases_;
  BoundaryRandom random_{{.capacity = kDiskSize}};
  std::uint64_t kills_ = 0;
  std::uint64_t syncs_ = 0;
  std::uint64_t writes_ = 0;

 private:
  Base& add(const std::string& name, const std::string& file) {
    std::filesystem::create_directory(path(name));
    Base& base = bases_.emplace_back();
    base.name = name;
    base.image = name + "/" + file;
    return base;
  }

  void write_some(const std::string& image, ReferenceDisk& model, int writes) {
    auto disk = vmdk::Disk::open(files_, path(image), {});
    ASSERT_OK(disk);
    for (int i = 0; i < writes; ++i) {
      const auto [at, length] = random_.sector_range(kLongestWrite);
      const std::vector<std::byte> bytes = random_.fill(length);
      model.write(at, bytes);
      ASSERT_OK((*disk)->write(vmdk::DiskOffset(at), bytes));
    }
    ASSERT_OK((*disk)->close());
  }

  // Two links, which have grains in different places.
  void make_chain() {
    Base& base = add("chain", "disk.vmdk");
    create("chain/base.vmdk");
    write_some("chain/base.vmdk", base.content, 20);
    vmdk::CreateOptions child;
    child.parent = path("chain/base.vmdk");
    create(base.image, 0, child);
    write_some(base.image, base.content, 10);
  }

  void build_stream(const std::string& image, ReferenceDisk& content) {
    vmdk::test::StreamSpec spec;
    spec.capacity = kDiskSize;
    for (std::uint64_t index = 0; index < kDiskSize / kStreamGrain; index += 1 + random_.below(4)) {
      const std::vector<std::byte> bytes = random_.fill(kStreamGrain);
      content.write(index * kStreamGrain, bytes);
      spec.grains.push_back({.index = index, .data = bytes});
    }
    ASSERT_OK(vmdk::test::build_stream(files_, path(image), spec));
  }

  void make_stream() {
    Base& base = add("stream", "disk.vmdk");
    build_stream(base.image, base.content);
  }

  void make_sesparse() {
    Base& base = add("sesparse", "disk.vmdk");
    create("sesparse/base.vmdk");
    write_some("sesparse/base.vmdk", base.content, 20);
    vmdk::test::SeSparseSpec spec;
    spec.capacity = kDiskSize;
    for (std::uint64_t index = 0; index < kDiskSize / kSeSparseGrain;
         index += 1 + random_.below(40)) {
      if (random_.one_in(4)) {
        base.content.zero(index * kSeSparseGrain, kSeSparseGrain);
        spec.grains.push_back({.index = index, .entry = vmdk::test::kSeZeroEntry});
        continue;
      }
      const std::vector<std::byte> bytes = random_.fill(kSeSparseGrain);
      base.content.write(index * kSeSparseGrain, bytes);
      spec.grains.push_back({.index = index, .data = bytes});
    }
    DescriptorSpec descriptor;
    vmdk::OpenOptions options;
    options.access = vmdk::Access::kReadOnly;
    ASSERT_OK_AND_ASSIGN(const auto parent,
                         vmdk::Disk::open(files_, path("sesparse/base.vmdk"), options));
    descriptor.parent_cid = parent->info().layers[0].cid;
    descriptor.parent_hint = "base.vmdk";
    ASSERT_OK(vmdk::test::build_sesparse_disk(files_, path(base.image), spec, descriptor));
  }

  void make_archive() {
    Base& base = add("archive", "app.ova");
    build_stream("in-archive.vmdk", base.content);
    std::ifstream file(path("in-archive.vmdk"), std::ios::binary);
    const std::string stream(std::istreambuf_iterator<char>(file), {});
    std::ofstream(path(base.image), std::ios::binary)
        << vmdk::test::tar_entry({.name = "app.ovf", .data = "<Envelope/>"})
        << vmdk::test::tar_entry({.name = "app-disk1.vmdk", .data = stream})
        << vmdk::test::tar_end();
  }

  void mount_over(const Base& base) {
    const std::string cache = random_.one_in(2) ? "writeback" : "writethrough";
    const CommandResult result =
        vmdkfuse("--pid-file=pid --commit=1 --cache=" + cache + " --overlay=" + base.overlay() +
                 " " + base.image + " flat");
    ASSERT_EQ(result.status, 0) << result.to_text();
  }

  // One request, of which `history` is told. False: the daemon is gone.
  bool request(int file, SectorHistory& history, std::size_t& point) {
    if (random_.one_in(6)) {
      if (fsync(file) != 0)
        return false;
      history.flushed(++point);
      ++syncs_;
      return true;
    }
    const auto [at, length] = random_.range(kLongestWrite);
    if (random_.one_in(10)) {
      history.zero(point++, at, length);
      return fallocate(file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                       static_cast<off_t>(length)) == 0;
    }
    const std::vector<std::byte> bytes = random_.fill(length);
    history.write(point++, at, bytes);
    ++writes_;
    return pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
           static_cast<ssize_t>(bytes.size());
  }

  std::size_t write_until_killed(SectorHistory& history) {
    const pid_t victim = daemon();
    const std::chrono::microseconds life(random_.below(kLongestLifeMicroseconds));
    std::thread killer([victim, life] {
      std::this_thread::sleep_for(life);
      kill(victim, SIGKILL);
    });
    const int file = open(path("flat").c_str(), O_RDWR | O_CLOEXEC);
    std::size_t point = 0;
    for (std::uint64_t i = 0; file >= 0 && i < kMostOperations; ++i) {
      if (!request(file, history, point))
        break;
    }
    killer.join();
    if (file >= 0)
      close(file);
    EXPECT_TRUE(daemon_ends());
    EXPECT_TRUE(shell("fusermount3 -u flat; rm -f pid"));
    ++kills_;
    return point;
  }

  std::size_t write_and_unmount(SectorHistory& history) {
    const int file = open(path("flat").c_str(), O_RDWR | O_CLOEXEC);
    EXPECT_GE(file, 0);
    std::size_t point = 0;
    // Without a write the mark of a killed daemon would stay.
    const std::uint64_t before = writes_;
    const std::uint64_t wanted = random_.below(kMostOperations);
    for (std::uint64_t i = 0; i < wanted || writes_ == before; ++i)
      EXPECT_TRUE(request(file, history, point));
    close(file);
    unmount();
    history.flushed(++point);
    return point;
  }

  vmdk::PosixFileSystem files_;
};

TEST_F(OverlaySoakTest, WhatWasSyncedIsThereAndNoBaseChanges) {
  const auto time = soak_time();
  const auto end = steady_clock::now() + time;
  auto next_word = steady_clock::now() + std::chrono::minutes(1);
  int rounds = 0;
  for (; rounds < kShortRounds || steady_clock::now() < end; ++rounds) {
    for (Base& base : bases_) {
      SCOPED_TRACE("round " + std::to_string(rounds) + " over " + base.name);
      live_once(base);
      if (HasFailure())
        return;
    }
    if (steady_clock::now() > next_word) {
      std::printf("%d rounds, %llu kills, %llu syncs\n", rounds + 1,
                  static_cast<unsigned long long>(kills_), static_cast<unsigned long long>(syncs_));
      std::fflush(stdout);
      next_word += std::chrono::minutes(1);
    }
  }
  for (const Base& base : bases_) {
    EXPECT_EQ(sums(base), base.sums);
    EXPECT_EQ(times(base), base.times);
    EXPECT_EQ(content_id(base), base.cid);
  }
  EXPECT_GT(syncs_, 0U);
  RecordProperty("rounds", rounds);
}

}  // namespace
}  // namespace vmdkfuse::test
