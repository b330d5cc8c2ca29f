// Images whose last session did not end are checked before they are mounted for writing.
#include <array>
#include <cstdint>
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include <vmdk/check.h>

#include "base/bytes.h"
#include "format/sparse_header.h"
#include "io/posix_file_system.h"
#include "mount/mount_test.h"
#include "support/matchers.h"

namespace vmdkfuse::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class UncleanMountTest : public MountTest {
 protected:
  // disk.vmdk with a grain of data, and the mark of a session that did not end.
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    create();
    make_reference("reference", 64 * vmdk::kKiB);
    mount();
    ASSERT_TRUE(shell("dd if=reference of=flat conv=notrunc,fsync status=none"));
    unmount_and_wait();
    poke(vmdk::kUncleanMarkOffset, "\x01");
  }

  // The kernel closes the files of a daemon that has ended one after the other, and what -u waits
  // for is among the first: its locks may be there a moment longer.
  void unmount_and_wait() {
    unmount();
    EXPECT_TRUE(eventually([&] {
      vmdk::PosixFileSystem files;
      const auto file = files.open(path("disk.vmdk"), vmdk::Access::kReadWrite);
      return file && (*file)->lock(vmdk::LockMode::kWrite);
    }));
  }

  void poke(std::uint64_t at, const std::string& bytes) const {
    std::fstream file(path("disk.vmdk"), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.flush());
  }

  void poke_entry(std::uint64_t grain, bool redundant, std::uint32_t value) const {
    std::array<std::byte, 4> bytes{};
    vmdk::store_le32(bytes, 0, value);
    poke(entry_at(grain, redundant),
         std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));  // NOLINT
  }

  std::uint32_t entry(std::uint64_t grain, bool redundant) const {
    return load(entry_at(grain, redundant));
  }

  // In the first table: the directories have their tables directly behind them.
  std::uint64_t entry_at(std::uint64_t grain, bool redundant) const {
    constexpr std::uint64_t kRedundantDirectoryAt = 48;
    constexpr std::uint64_t kDirectoryAt = 56;
    const std::uint64_t directory = load(redundant ? kRedundantDirectoryAt : kDirectoryAt);
    return load(directory * vmdk::kSectorSize) * vmdk::kSectorSize + grain * 4;
  }

  std::uint32_t load(std::uint64_t at) const {
    std::array<std::byte, 4> bytes{};
    std::ifstream file(path("disk.vmdk"), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    file.read(reinterpret_cast<char*>(bytes.data()), bytes.size());  // NOLINT: bytes as characters
    EXPECT_TRUE(file);
    return vmdk::load_le32(bytes, 0);
  }

  vmdk::CheckReport check(bool repair = false) const {
    vmdk::PosixFileSystem files;
    vmdk::CheckOptions options;
    options.repair = repair;
    const auto report = vmdk::check_image(files, path("disk.vmdk"), options);
    EXPECT_OK(report);
    return report ? *report : vmdk::CheckReport{};
  }

  // Mounts, and returns what the program says.
  std::string mounted(const std::string& options = "") const {
    const CommandResult result = vmdkfuse("--pid-file=pid " + options + " disk.vmdk flat");
    EXPECT_EQ(result.status, 0) << result.to_text();
    EXPECT_TRUE(is_mounted());
    return result.err;
  }

  void expect_refused(const std::string& why, const std::string& way_out) const {
    ASSERT_TRUE(shell("cp disk.vmdk before"));
    const CommandResult result = vmdkfuse("--pid-file=pid disk.vmdk flat");
    EXPECT_EQ(result.status, 32) << result.to_text();
    EXPECT_THAT(result.err, AllOf(HasSubstr("disk.vmdk: not opened for writing: "), HasSubstr(why),
                                  HasSubstr("hint: "), HasSubstr(way_out), HasSubstr("-r mounts")));
    EXPECT_FALSE(is_mounted());
    EXPECT_TRUE(shell("cmp disk.vmdk before"));
  }

  // Writes another grain, unmounts, and expects a clean image that has it and the first one.
  void write_and_unmount() {
    ASSERT_TRUE(shell("dd if=reference of=flat bs=64k seek=9 conv=notrunc,fsync status=none"));
    unmount_and_wait();
    EXPECT_EQ(check().exit_code(), 0);
    EXPECT_EQ(mounted("-r"), "");
    EXPECT_TRUE(shell("cmp -n 65536 flat reference"));
    EXPECT_TRUE(shell("cmp -n 65536 -i 589824:0 flat reference"));
    unmount_and_wait();
  }
};

TEST_F(UncleanMountTest, ASoundImageIsMountedWithANote) {
  EXPECT_EQ(check().exit_code(), 3);
  EXPECT_THAT(mounted(),
              AllOf(HasSubstr("disk.vmdk: was not closed cleanly; its tables were checked and are "
                              "sound\n"),
                    Not(HasSubstr("hint"))));
  EXPECT_EQ(load(vmdk::kUncleanMarkOffset - 3) >> 24U, 1U) << "nothing is written so far";
  write_and_unmount();
}

TEST_F(UncleanMountTest, ForReadingItIsNotChecked) {
  EXPECT_THAT(mounted("-r"), HasSubstr("was not closed cleanly; its tables were not checked\n"));
  EXPECT_TRUE(shell("cmp -n 65536 flat reference"));
  unmount_and_wait();
  EXPECT_EQ(check().exit_code(), 3);
}

TEST_F(UncleanMountTest, AnInterruptedCommitIsToldAndHealedByTheFirstWrite) {
  // A grain that only the redundant table names yet, and its space.
  const std::uint64_t end = size_of(path("disk.vmdk"));
  std::filesystem::resize_file(path("disk.vmdk"), end + 64 * vmdk::kKiB);
  poke_entry(5, true, static_cast<std::uint32_t>(end / vmdk::kSectorSize));
  EXPECT_THAT(
      mounted(),
      AllOf(HasSubstr("was not closed cleanly; its tables were checked and are sound; a "
                      "commit was interrupted, the copies of the tables differ in 1 entries"),
            HasSubstr("the first write makes the others equal"),
            HasSubstr("64 KiB are used by no grain")));
  EXPECT_NE(entry(5, true), 0U);
  write_and_unmount();
  EXPECT_EQ(entry(5, true), 0U);
}

TEST_F(UncleanMountTest, DamageThatTheOtherCopyCanMendIsRefusedWithTheWayOut) {
  const std::uint32_t sound = entry(0, false);
  poke_entry(0, false, 3);  // into the metadata
  expect_refused("its grain tables are damaged: grain 0", "vmdkctl check --repair mends it");
  EXPECT_EQ(check(true).exit_code(), 0);
  EXPECT_EQ(entry(0, false), sound);
  EXPECT_EQ(mounted(), "");
  write_and_unmount();
}

TEST_F(UncleanMountTest, ADamagedRedundantCopyIsRefusedWithTheWayOut) {
  poke_entry(0, true, 3);
  expect_refused("the redundant one is damaged", "vmdkctl check --repair makes it equal");
  EXPECT_THAT(mounted("-r"), HasSubstr("its tables were not checked"));
  EXPECT_TRUE(shell("cmp -n 65536 flat reference"));
  unmount_and_wait();
  EXPECT_EQ(check(true).exit_code(), 0);
  EXPECT_EQ(mounted(), "");
  write_and_unmount();
}

TEST_F(UncleanMountTest, DamageInBothCopiesIsRefused) {
  poke_entry(3, false, 3);
  poke_entry(3, true, 3);
  expect_refused("its grain tables are damaged: grain 3", "vmdkctl check lists the damage");
  EXPECT_EQ(check(true).exit_code(), 2) << "no copy can mend it";
  expect_refused("its grain tables are damaged: grain 3", "vmdkctl check lists the damage");
}

}  // namespace
}  // namespace vmdkfuse::test
