// ESX snapshots, read by us and by QEMU; those that we wrote, too.
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "io/posix_file_system.h"
#include "support/command.h"
#include "support/esx_builder.h"
#include "support/matchers.h"
#include "support/noise.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

class EsxQemuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("qemu-img"))
      GTEST_SKIP() << "qemu-img is not installed";
  }

  std::string word(const std::string& name) const { return shell_word((folder_ / name).string()); }

  std::vector<EsxGrain> random_grains(std::uint64_t capacity, std::uint64_t grain_size,
                                      std::size_t count) {
    std::vector<EsxGrain> grains;
    std::vector<bool> taken(capacity / grain_size);
    while (grains.size() < count) {
      const std::uint64_t index = random_() % taken.size();
      if (taken[index])
        continue;
      taken[index] = true;
      grains.push_back({.index = index, .data = noise(random_, grain_size)});
    }
    return grains;
  }

  // What we read is what QEMU converts.
  void expect_same(const std::string& image) {
    ASSERT_COMMAND(fmt::format("qemu-img convert -f vmdk -O raw {} {}", word(image), word("raw")));
    OpenOptions options;
    options.access = Access::kReadOnly;
    ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files_, folder_ / image, options));
    std::vector<std::byte> ours(disk->capacity());
    ASSERT_OK(disk->read(DiskOffset(0), ours));
    std::ifstream file(folder_ / "raw", std::ios::binary);
    std::vector<std::byte> theirs(disk->capacity());
    file.read(reinterpret_cast<char*>(theirs.data()),  // NOLINT
              static_cast<std::streamsize>(theirs.size()));
    ASSERT_EQ(static_cast<std::size_t>(file.gcount()), theirs.size());
    EXPECT_TRUE(ours == theirs);
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, folder_ / image, {}));
    EXPECT_EQ(report.exit_code(), 0) << (report.findings.empty() ? "" : report.findings[0].text);
  }

  // An empty base that QEMU opens; children name its content id.
  std::uint32_t make_base(const std::string& name, std::uint64_t capacity) {
    EXPECT_COMMAND(fmt::format("qemu-img create -q -f vmdk {} {}", word(name), capacity));
    EXPECT_COMMAND(fmt::format("qemu-io -f vmdk -c 'write -q -P 0x55 0 3M' {}", word(name)));
    OpenOptions options;
    options.access = Access::kReadOnly;
    const auto disk = Disk::open(files_, folder_ / name, options);
    EXPECT_OK(disk);
    return disk ? (*disk)->info().layers[0].cid : 0;
  }

  static DescriptorSpec child_of(const std::string& hint, std::uint32_t cid) {
    DescriptorSpec spec;
    spec.cid = 0x600DCAFE;
    spec.parent_cid = cid;
    spec.parent_hint = hint;
    return spec;
  }

  TempDir folder_;
  PosixFileSystem files_;
  std::mt19937 random_{17};
};

TEST_F(EsxQemuTest, CowdIsReadAsQemuReadsIt) {
  for (const std::uint32_t grain_size : {512U, 4096U, 65536U}) {
    SCOPED_TRACE(grain_size);
    const std::uint64_t capacity = 20 * kMiB;
    CowdSpec spec{.capacity = capacity, .grain_size = grain_size};
    spec.grains = random_grains(capacity, grain_size, 100);
    const std::string name = fmt::format("d{}.vmdk", grain_size);
    ASSERT_OK(build_cowd_disk(files_, folder_ / name, spec));
    expect_same(name);
  }
}

TEST_F(EsxQemuTest, CowdThatWeWroteIsReadByQemu) {
  const std::uint64_t capacity = 40 * kMiB;
  const std::uint32_t cid = make_base("base.vmdk", capacity);
  for (const std::uint32_t grain_size : {512U, 65536U}) {
    SCOPED_TRACE(grain_size);
    const std::string name = fmt::format("d{}.vmdk", grain_size);
    // As ESX makes it: a directory without a table.
    ASSERT_OK(build_cowd_disk(files_, folder_ / name,
                              {.capacity = capacity, .grain_size = grain_size},
                              child_of("base.vmdk", cid)));
    {
      ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files_, folder_ / name, {}));
      for (int i = 0; i < 300; ++i) {
        const auto bytes = noise(random_, 1 + random_() % 50000);
        ASSERT_OK(disk->write(DiskOffset(random_() % (capacity - bytes.size())), bytes));
      }
      ASSERT_OK(disk->close());
    }
    expect_same(name);
    ASSERT_COMMAND(fmt::format("qemu-img compare -f vmdk -F raw {} {}", word(name), word("raw")));
  }
}

TEST_F(EsxQemuTest, SeSparseIsReadAsQemuReadsIt) {
  const std::uint64_t capacity = 40 * kMiB;
  const std::uint32_t cid = make_base("base.vmdk", capacity);
  SeSparseSpec spec{.capacity = capacity};
  spec.grains = random_grains(capacity, 4096, 100);
  // In the part of the disk that the base has data for.
  for (const std::uint64_t index : {3U, 5U, 6U, 8U}) {
    std::erase_if(spec.grains, [&](const EsxGrain& grain) { return grain.index == index; });
    spec.grains.push_back({.index = index, .entry = index < 6 ? kSeZeroEntry : kSeUnmappedEntry});
  }
  spec.grains[0].number = 9000;
  spec.grains[1].number = 3;
  spec.grains[2].number = 4100;
  ASSERT_OK(build_sesparse_disk(files_, folder_ / "d.vmdk", spec, child_of("base.vmdk", cid)));
  expect_same("d.vmdk");
}

TEST_F(EsxQemuTest, SeSparseWithADirtyJournalIsRefusedByBoth) {
  ASSERT_OK(
      build_sesparse_disk(files_, folder_ / "d.vmdk", {.capacity = kMiB, .replay_journal = 1}));
  EXPECT_COMMAND_STATUS(1, fmt::format("qemu-img info -f vmdk {}", word("d.vmdk")));
  OpenOptions options;
  options.access = Access::kReadOnly;
  EXPECT_THAT(Disk::open(files_, folder_ / "d.vmdk", options), HasMessage("--force=journal"));
}

}  // namespace
}  // namespace vmdk::test
