// vmdkctl bench, and how all verbs tell how far they are.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "interop/vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class BenchVerbTest : public VmdkctlTest {};

TEST_F(BenchVerbTest, ReadsADiskAndLeavesItAlone) {
  create("disk.vmdk 4M");
  write_data("disk.vmdk", 0, 100000);
  const json report = json_of("bench --json --size=8M --bs=64K disk.vmdk");
  EXPECT_EQ(report["schema"], 1);
  EXPECT_EQ(report["mode"], "read");
  EXPECT_EQ(report["requests"], 128);
  EXPECT_EQ(report["bytes"], 8388608);
  EXPECT_GT(report["seconds"], 0.0);
  EXPECT_NEAR(report["bytesPerSecond"].get<double>() * report["seconds"].get<double>(), 8388608.0,
              1.0);
  EXPECT_THAT(vmdkctl("bench --size=4M disk.vmdk").out, HasSubstr("read: 32 of 128 KiB each"));
}

TEST_F(BenchVerbTest, WritesIntoANewImageThatGoesAgain) {
  for (const std::string type : {"monolithicSparse", "twoGbMaxExtentFlat"}) {
    const json report = json_of("bench --write --json --size=4M --type=" + type + " disk.vmdk");
    EXPECT_EQ(report["mode"], "write");
    EXPECT_EQ(report["requests"], 32);
    EXPECT_GT(report["flushSeconds"], 0.0);
    EXPECT_LE(report["flushSeconds"], report["seconds"]);
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  }
  create("disk.vmdk 4M");
  EXPECT_EQ(vmdkctl("bench --write disk.vmdk").status, 2) << "no image is overwritten";
}

TEST_F(BenchVerbTest, AnInterruptionIsAllThatItTells) {
  const CommandResult ended =
      run_command("cd " + shell_word(folder_.path().string()) + " && timeout -s INT 1 " +
                  shell_word(VMDKCTL) + " bench --write --size=4G --bs=512 disk.vmdk");
  EXPECT_EQ(ended.err, "vmdkctl: disk.vmdk: Interrupted system call\n");
  EXPECT_NE(ended.status, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(BenchVerbTest, SaysWhatCannotBeMeasured) {
  create("disk.vmdk 64K");
  EXPECT_EQ(vmdkctl("bench --size=1000 disk.vmdk").status, 1);
  EXPECT_EQ(vmdkctl("bench --bs=0 disk.vmdk").status, 1);
  EXPECT_EQ(vmdkctl("bench --type=vmfs disk.vmdk").status, 1);
  EXPECT_THAT(vmdkctl("bench disk.vmdk").err, HasSubstr("fewer than one request"));
}

class ProgressTest : public VmdkctlTest {};

TEST_F(ProgressTest, IsJsonForPrograms) {
  create("disk.vmdk 4M");
  write_data("disk.vmdk", 0, 100000);
  for (const std::string words :
       {"compact --progress=json disk.vmdk", "convert --progress=json disk.vmdk copy.vmdk",
        "check --progress=json disk.vmdk", "compare --progress=json disk.vmdk copy.vmdk",
        "cat --progress=json disk.vmdk > out", "bench --progress=json --size=1M disk.vmdk",
        "resize --progress=json disk.vmdk 8M", "snapshot disk.vmdk child.vmdk",
        "commit --progress=json child.vmdk", "rebase --progress=json child.vmdk disk.vmdk"}) {
    const CommandResult result = vmdkctl(words);
    EXPECT_EQ(result.status, 0) << words << result.to_text();
    const std::vector<std::string> lines = lines_of(result.err);
    EXPECT_EQ(lines.empty(), words.find("--progress") == std::string::npos) << words;
    for (const std::string& line : lines) {
      const json object = json::parse(line);
      EXPECT_EQ(object["schema"], 1);
      EXPECT_TRUE(object["progress"].is_string());
      EXPECT_LE(object["done"], object["total"]) << words;
      EXPECT_GT(object["total"], 0) << words;
    }
  }
}

TEST_F(ProgressTest, IsALineForEachTenthWhereThereIsNoTerminal) {
  create("disk.vmdk 4M");
  for (const std::string option : {"-p", "--progress"})
    EXPECT_THAT(vmdkctl("compact " + option + " disk.vmdk").err,
                HasSubstr("vmdkctl: disk.vmdk: 100 %\n"))
        << option;
  EXPECT_EQ(vmdkctl("compact disk.vmdk").err, "");
  const CommandResult other = vmdkctl("compact --progress=xml disk.vmdk");
  EXPECT_EQ(other.status, 1);
  EXPECT_THAT(other.err, HasSubstr("--progress: \"xml\" is none of json"));
}

}  // namespace
}  // namespace vmdk::test
