// Compressed images that QEMU made, read by us and by QEMU.
#include <cstddef>
#include <cstdint>
#include <filesystem>
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
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

// Stretches of noise, of text and of nothing, none of them aligned.
std::string raw_content(std::uint64_t length) {
  std::mt19937_64 random(length);
  std::string raw = "there is something in the first grain";
  while (raw.size() < length) {
    const std::size_t stretch = 1 + random() % (300 * kKiB);
    switch (random() % 3) {
      case 0:
        for (std::size_t i = 0; i < stretch; ++i)
          raw.push_back(static_cast<char>(random()));
        break;
      case 1:
        for (std::size_t i = 0; i < stretch / 16; ++i)
          raw += fmt::format("line {:10}\n", random() % 1000);
        break;
      default:
        raw.append(stretch, '\0');
    }
  }
  raw.resize(length);
  return raw;
}

class StreamQemuTest : public testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override {
    if (!have_program("qemu-img"))
      GTEST_SKIP() << "qemu-img is not installed";
  }

  std::string word(const std::string& name) const { return shell_word((folder_ / name).string()); }

  TempDir folder_;
  PosixFileSystem files_;
};

TEST_P(StreamQemuTest, ShowsWhatQemuCompressed) {
  const std::string raw = raw_content(GetParam());
  std::ofstream(folder_ / "raw", std::ios::binary) << raw;
  ASSERT_COMMAND(fmt::format("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized {} {}",
                             word("raw"), word("s.vmdk")));
  OpenOptions options;
  options.access = Access::kReadOnly;
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files_, folder_ / "s.vmdk", options));
  ASSERT_EQ(disk->capacity(), raw.size());
  std::string read(raw.size(), '?');
  ASSERT_OK(disk->read(DiskOffset(0), std::as_writable_bytes(std::span(read))));
  EXPECT_TRUE(read == raw) << "the whole disk in one read";
  // Again in pieces, past what is cached.
  ASSERT_OK_AND_ASSIGN(const auto again, Disk::open(files_, folder_ / "s.vmdk", options));
  std::string piece(100 * kKiB, '?');
  for (std::size_t at = 0; at < raw.size(); at += piece.size()) {
    ASSERT_OK_AND_ASSIGN(const std::size_t got,
                         again->read(DiskOffset(at), std::as_writable_bytes(std::span(piece))));
    ASSERT_EQ(raw.compare(at, got, piece, 0, got), 0) << at;
  }
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, folder_ / "s.vmdk", {}));
  EXPECT_EQ(report.exit_code(), 0) << (report.findings.empty() ? "" : report.findings[0].text);
  EXPECT_GT(report.allocated_grains, 0U);
}

INSTANTIATE_TEST_SUITE_P(Sizes, StreamQemuTest,
                         testing::Values(100 * kSectorSize, 64 * kKiB, 5 * kMiB + 7 * kSectorSize,
                                         33 * kMiB + kSectorSize, 80 * kMiB));

}  // namespace
}  // namespace vmdk::test
