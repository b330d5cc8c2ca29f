// vmdkctl cat.
#include <sys/stat.h>

#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "interop/copy_fixture.h"

namespace vmdk::test {
namespace {

using testing::HasSubstr;

class CatTest : public CopyTest {
 protected:
  void SetUp() override {
    raw_ = save_raw("raw", 9 * kMiB + 512);
    expect_done("\"$V\" convert --from=raw raw disk.vmdk");
  }

  std::uint64_t blocks(const std::string& name) const {
    struct stat found {};

    EXPECT_EQ(stat(path(name).c_str(), &found), 0);
    return static_cast<std::uint64_t>(found.st_blocks) * 512;
  }

  std::string raw_;
};

TEST_F(CatTest, WritesTheDiskWithItsHolesIntoANewFile) {
  expect_done("\"$V\" cat disk.vmdk > out");
  EXPECT_TRUE(load("out") == raw_);
  EXPECT_LT(blocks("out"), 3 * kMiB) << "the holes were written";
}

TEST_F(CatTest, EndsAFileInItsHole) {
  expect_done("\"$V\" create empty.vmdk 5M && \"$V\" cat empty.vmdk > out");
  EXPECT_EQ(std::filesystem::file_size(path("out")), 5 * kMiB);
  EXPECT_EQ(blocks("out"), 0U);
}

TEST_F(CatTest, WritesZerosWhereHolesCannotBe) {
  expect_done("\"$V\" cat disk.vmdk | cat > piped");
  EXPECT_TRUE(load("piped") == raw_);
  // Behind what a file has already: in a file that is appended to, and in one that is older.
  expect_done("printf before > appended && \"$V\" cat disk.vmdk >> appended");
  EXPECT_TRUE(load("appended") == "before" + raw_);
  expect_done("head -c 12M /dev/zero | tr '\\0' x > old && \"$V\" cat disk.vmdk 1<> old");
  EXPECT_TRUE(load("old").substr(0, raw_.size()) == raw_) << "old bytes show through the holes";
}

TEST_F(CatTest, WritesAPart) {
  expect_done("\"$V\" cat --offset=149K --length=100000 disk.vmdk > part");
  EXPECT_TRUE(load("part") == raw_.substr(149 * 1024, 100000));
  expect_done("\"$V\" cat --offset=9M disk.vmdk > end");
  EXPECT_TRUE(load("end") == raw_.substr(9 * kMiB));
  expect_done("\"$V\" cat --length=0 disk.vmdk > nothing");
  EXPECT_EQ(load("nothing"), "");
  const CommandResult behind = vmdkctl("cat --offset=10M disk.vmdk > behind");
  EXPECT_EQ(behind.status, 1);
  EXPECT_THAT(behind.err, HasSubstr("--offset: 10M is behind the end of the disk"));
}

TEST_F(CatTest, HelpFitsTheWidthOfAScreen) {
  for (const char* const verb : {"cat", "compare", "convert"}) {
    const CommandResult help = vmdkctl(std::string(verb) + " --help");
    EXPECT_EQ(help.status, 0);
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);)
      EXPECT_LE(line.size(), 80U) << line;
  }
}

TEST_F(CatTest, WritesAnOlderLayer) {
  expect_done(
      "\"$V\" create --parent=disk.vmdk child.vmdk && \"$V\" cat --layer=0 child.vmdk > out");
  EXPECT_TRUE(load("out") == raw_);
}

TEST_F(CatTest, TellsOfAFullDiskAndOfAReaderThatWent) {
  const CommandResult full = vmdkctl("cat disk.vmdk > /dev/full");
  EXPECT_EQ(full.status, 2);
  EXPECT_THAT(full.err, HasSubstr("standard output: No space left on device"));
  const CommandResult gone = shell("{ \"$V\" cat disk.vmdk; echo $? > status; } | head -c 10");
  EXPECT_EQ(load("status"), "2\n");
  EXPECT_THAT(gone.err, HasSubstr("standard output: Broken pipe"));
}

TEST_F(CatTest, FailsAtWhatCannotBeRead) {
  // The first grain's record: what it says of its length is more than two grains.
  expect_done("\"$V\" convert --type=streamOptimized disk.vmdk s.vmdk");
  std::string stream = load("s.vmdk");
  stream.replace(128 * 512 + 8, 4, "\xFF\xFF\xFF\x7F", 4);
  save("s.vmdk", stream);
  const CommandResult result = vmdkctl("cat s.vmdk > out");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("s.vmdk"));
  EXPECT_EQ(vmdkctl("cat nothing.vmdk > out").status, 2);
}

TEST_F(CatTest, SalvagesAStreamWithoutItsEnd) {
  expect_done("\"$V\" convert --type=streamOptimized disk.vmdk s.vmdk");
  save("s.vmdk", load("s.vmdk").substr(0, std::filesystem::file_size(path("s.vmdk")) - 1536));
  EXPECT_EQ(vmdkctl("cat s.vmdk > out").status, 2);
  const CommandResult salvaged = vmdkctl("cat --salvage s.vmdk > out");
  EXPECT_EQ(salvaged.status, 0) << salvaged.to_text();
  EXPECT_TRUE(load("out") == raw_);
}

// Nothing of the gap in the middle of a piece, and everything before it.
TEST_F(CatTest, WritesAllThatComesBeforeAGap) {
  const std::size_t first = kMiB + 300 * 1024 + 3 * 512;
  const std::string data = raw_.substr(0, 600000) + std::string(first - 600000, '\0');
  for (const std::string& bytes : {raw_.substr(0, first), data}) {
    save("d-f001.vmdk", bytes);
    save("d.vmdk",
         "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
         "createType=\"twoGbMaxExtentFlat\"\nRW " +
             std::to_string(first / 512) +
             " FLAT \"d-f001.vmdk\" 0\nRW 3000 FLAT \"d-f002.vmdk\" 0\n");
    const CommandResult piped =
        shell("{ \"$V\" cat --salvage d.vmdk; echo $? > status; } | cat > out");
    EXPECT_EQ(load("status"), "2\n") << piped.to_text();
    EXPECT_TRUE(load("out") == bytes) << load("out").size() << " bytes";
    EXPECT_EQ(vmdkctl("cat --salvage --offset=700 d.vmdk > part").status, 2);
    EXPECT_TRUE(load("part") == bytes.substr(700)) << load("part").size() << " bytes";
  }
  expect_done("\"$V\" cat --salvage --length=1M d.vmdk > beginning");
}

TEST_F(CatTest, RefusesATerminal) {
  if (!have_program("script"))
    GTEST_SKIP() << "script, which makes a terminal, is not installed";
  const CommandResult result = shell("script -qec '\"'$V'\" cat disk.vmdk' /dev/null");
  EXPECT_EQ(result.status, 1) << result.to_text();
  EXPECT_THAT(result.out, HasSubstr("standard output is a terminal"));
}

}  // namespace
}  // namespace vmdk::test
