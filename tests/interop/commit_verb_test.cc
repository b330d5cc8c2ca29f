// vmdkctl snapshot and commit, with QEMU as a second reader.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "interop/copy_fixture.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class CommitVerbTest : public CopyTest {
 protected:
  // A base with data, a snapshot of it, and data written to that by QEMU.
  void SetUp() override {
    if (shell("qemu-io --version").status != 0)
      GTEST_SKIP() << "qemu-io is not installed";
    save_raw("raw", 5 * kMiB);
    expect_done("\"$V\" convert --from=raw raw base.vmdk");
    expect_done("\"$V\" snapshot base.vmdk child.vmdk");
    expect_done("qemu-io -f vmdk -c 'write -P 0x5a 1M 100k' -c 'write -P 0 0 64k' child.vmdk");
    expect_done("qemu-img convert -f vmdk -O raw child.vmdk expected");
  }

  void expect_shows(const std::string& image) const {
    expect_done("\"$V\" compare --raw=b " + image + " expected");
    expect_done("qemu-img compare -f vmdk -F raw " + image + " expected");
    expect_done("qemu-img check " + image);
    expect_done("\"$V\" check " + image);
  }
};

TEST_F(CommitVerbTest, BothShowTheDiskToQemuToo) {
  const CommandResult done = vmdkctl("commit child.vmdk");
  EXPECT_EQ(done.status, 0) << done.to_text();
  EXPECT_THAT(done.out, HasSubstr("child.vmdk: in "));
  expect_shows("base.vmdk");
  expect_shows("child.vmdk");
  const CommandResult again = vmdkctl("commit --json child.vmdk");
  EXPECT_EQ(again.status, 0) << again.to_text();
  const json report = json::parse(again.out);
  EXPECT_EQ(report["schema"], 1);
  EXPECT_EQ(report["writtenBytes"], 0);
  EXPECT_GT(report["heldBytes"], 0);
}

// What QEMU's own commit leaves unreadable.
TEST_F(CommitVerbTest, TheChildTakesWritesAfterwards) {
  expect_done("\"$V\" commit child.vmdk");
  expect_done("qemu-io -f vmdk -c 'write -P 0x77 2M 64k' child.vmdk");
  expect_done("qemu-img convert -f vmdk -O raw child.vmdk expected");
  expect_done("\"$V\" commit child.vmdk");
  expect_shows("base.vmdk");
  expect_shows("child.vmdk");
}

TEST_F(CommitVerbTest, AnotherChildIsInTheWay) {
  expect_done("\"$V\" snapshot base.vmdk other.vmdk");
  const CommandResult refused = vmdkctl("commit child.vmdk");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("other.vmdk is a snapshot of it"));
  EXPECT_EQ(vmdkctl("commit --force=children child.vmdk").status, 0);
  expect_shows("base.vmdk");
  EXPECT_THAT(vmdkctl("cat other.vmdk > /dev/null").err, HasSubstr("has been changed since"));
}

TEST_F(CommitVerbTest, SaysWhatItDoesNotKnow) {
  const CommandResult force = vmdkctl("commit --force=everything child.vmdk");
  EXPECT_EQ(force.status, 1);
  EXPECT_THAT(force.err, HasSubstr("--force: \"everything\""));
  const CommandResult base = vmdkctl("commit base.vmdk");
  EXPECT_EQ(base.status, 1);
  EXPECT_THAT(base.err, HasSubstr("it has no parent"));
  EXPECT_EQ(vmdkctl("commit nothing.vmdk").status, 2);
}

class SnapshotVerbTest : public CopyTest {};

TEST_F(SnapshotVerbTest, TakesKindAndGrainsOfTheParent) {
  expect_done("\"$V\" create --type=twoGbMaxExtentSparse --grain=16K base.vmdk 3G");
  expect_done("\"$V\" snapshot base.vmdk child.vmdk");
  const json info = json::parse(vmdkctl("info --json child.vmdk").out);
  EXPECT_EQ(info["format"]["createType"], "twoGbMaxExtentSparse");
  EXPECT_EQ(info["format"]["grainBytes"], 16384);
  EXPECT_EQ(info["layers"].size(), 2U);
  EXPECT_EQ(info["layers"][1]["extents"].size(), 2U);
  EXPECT_EQ(info["cid"].get<std::string>().size(), 8U);
  EXPECT_EQ(info["parentCid"], json::parse(vmdkctl("info --json base.vmdk").out)["cid"]);
}

TEST_F(SnapshotVerbTest, TheParentIsGuardedFromThenOn) {
  save_raw("raw", kMiB);
  expect_done("\"$V\" convert --from=raw raw base.vmdk");
  expect_done("\"$V\" snapshot base.vmdk child.vmdk");
  EXPECT_THAT(vmdkctl("snapshot base.vmdk child.vmdk").err, HasSubstr("File exists"));
  // A commit into base by way of a second child meets the first one.
  expect_done("\"$V\" snapshot base.vmdk two.vmdk");
  EXPECT_EQ(vmdkctl("commit two.vmdk").status, 2);
  expect_done("mkdir away");
  const CommandResult away = vmdkctl("snapshot base.vmdk away/child.vmdk");
  EXPECT_EQ(away.status, 0) << away.to_text();
  EXPECT_THAT(away.err, HasSubstr("its parent is outside its folder"));
}

TEST_F(SnapshotVerbTest, TheFolderToAllowIsThatOfTheParentItself) {
  save_raw("raw", kMiB);
  expect_done("\"$V\" convert --from=raw raw base.vmdk");
  expect_done("mkdir away && ln -s ../base.vmdk away/link.vmdk");
  const CommandResult made = vmdkctl("snapshot away/link.vmdk away/child.vmdk");
  ASSERT_EQ(made.status, 0) << made.to_text();
  const std::size_t begin = made.err.find("--allow-dir=");
  ASSERT_NE(begin, std::string::npos) << made.err;
  const std::string option = made.err.substr(begin, made.err.find(' ', begin) - begin);
  EXPECT_EQ(vmdkctl("check away/child.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("check " + option + " away/child.vmdk").status, 0) << option;
}

// VirtualBox finds parents by these keys alone.
TEST_F(SnapshotVerbTest, NamesTheParentAsVirtualBoxDoes) {
  save_raw("raw", kMiB);
  expect_done("\"$V\" convert --from=raw raw base.vmdk");
  std::string base = load("base.vmdk");
  const std::string key =
      "ddb.uuid.image = \"11111111-2222-4333-8444-555555555555\"\n"
      "ddb.uuid.modification = \"66666666-2222-4333-8444-555555555555\"\n";
  const std::size_t end = base.find('\0', 600);
  base.replace(end, key.size(), key);
  save("base.vmdk", base);
  expect_done("\"$V\" snapshot base.vmdk child.vmdk");
  const std::string child = load("child.vmdk");
  EXPECT_THAT(child, HasSubstr("ddb.uuid.parent = \"11111111-2222-4333-8444-555555555555\"\n"));
  EXPECT_THAT(
      child, HasSubstr("ddb.uuid.parentmodification = \"66666666-2222-4333-8444-555555555555\"\n"));
  EXPECT_THAT(child, HasSubstr("ddb.uuid.image = \""));
  EXPECT_THAT(child, testing::Not(HasSubstr("ddb.uuid.image = \"11111111")));
}

}  // namespace
}  // namespace vmdk::test
