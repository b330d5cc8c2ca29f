// What the daemon takes for the tables of large disks of small grains, read at random all over.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "io/posix_file_system.h"
#include "mount/mount_test.h"
#include "support/esx_builder.h"
#include "support/matchers.h"

namespace vmdkfuse::test {
namespace {

using vmdk::test::EsxGrain;

constexpr std::uint64_t kMostMemory = 100 * vmdk::kMiB;
constexpr std::uint64_t kCapacity = 2048 * vmdk::kGiB - vmdk::kSectorSize;
constexpr std::uint64_t kTables = 8000;  // several times what is kept
constexpr std::uint64_t kReads = 25000;

class MemoryTest : public MountTest {
 protected:
  // One grain in each of kTables tables, spread over the disk.
  std::vector<EsxGrain> spread_grains(std::uint64_t grain_size) {
    std::vector<EsxGrain> grains;
    const std::uint64_t count = kCapacity / grain_size;
    for (std::uint64_t i = 0; i < kTables; ++i) {
      const std::uint64_t index = count / kTables * i + i % 4096;
      grains.push_back(
          {.index = index, .data = std::vector<std::byte>(grain_size, static_cast<std::byte>(i))});
      begins_.push_back(index * grain_size);
    }
    return grains;
  }

  void read_all_over() {
    const int file = open(path("flat").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
    std::mt19937_64 random(5);
    std::vector<unsigned char> bytes(512);
    for (std::uint64_t i = 0; i < kReads && !HasFailure(); ++i) {
      // Each table once, then any place.
      const bool known = i < kTables || random() % 2 == 0;
      const std::size_t number = i < kTables ? i : random() % kTables;
      const std::uint64_t at = known ? begins_[number] : random() % (kCapacity / 512) * 512;
      ASSERT_EQ(pread(file, bytes.data(), bytes.size(), static_cast<off_t>(at)), 512) << at;
      if (known) {
        ASSERT_EQ(bytes[17], number % 256) << at;
      }
    }
    close(file);
  }

  // The most that the daemon ever had in memory, bytes.
  std::uint64_t peak() const {
    std::ifstream status("/proc/" + std::to_string(daemon()) + "/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmHWM:"))
        return std::stoull(line.substr(6)) * vmdk::kKiB;
    return 0;
  }

  void expect_little_memory() {
    mount("-r");
    if (HasFatalFailure())
      return;
    read_all_over();
    const std::uint64_t most = peak();
    RecordProperty("peak_kib", std::to_string(most / vmdk::kKiB));
    EXPECT_GT(most, 0U);
    EXPECT_LE(most, kMostMemory);
    unmount();
  }

  vmdk::PosixFileSystem file_system_;
  std::vector<std::uint64_t> begins_;
};

TEST_F(MemoryTest, CowdOfTwoTebibytes) {
  ASSERT_OK(vmdk::test::build_cowd_disk(file_system_, path("disk.vmdk"),
                                        {.capacity = kCapacity, .grains = spread_grains(512)}));
  expect_little_memory();
}

TEST_F(MemoryTest, SeSparseOfTwoTebibytes) {
  ASSERT_OK(vmdk::test::build_sesparse_disk(
      file_system_, path("disk.vmdk"), {.capacity = kCapacity, .grains = spread_grains(4096)}));
  expect_little_memory();
}

}  // namespace
}  // namespace vmdkfuse::test
