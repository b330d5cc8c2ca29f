// vmdkctl info: words and JSON, whole chains and broken ones.
#include <fstream>
#include <string>
#include <vector>

#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(VmdkctlTest, InfoShowsTheWholeChainOldestFirst) {
  create("base.vmdk 10M");
  create("--parent=base.vmdk middle.vmdk");
  create("--parent=middle.vmdk top.vmdk");
  const json info = json_of("info --json top.vmdk");
  EXPECT_EQ(info["schema"], 1);
  EXPECT_EQ(info["image"], "top.vmdk");
  EXPECT_EQ(info["clean"], true);
  EXPECT_EQ(info["parentMatches"], true);
  ASSERT_EQ(info["layers"].size(), 3U);
  const std::vector<std::string> names{"base.vmdk", "middle.vmdk", "top.vmdk"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(info["layers"][i]["index"], i);
    EXPECT_EQ(fs::path(info["layers"][i]["file"].get<std::string>()).filename(), names[i]);
  }
  EXPECT_EQ(info["chainComplete"], true);
  EXPECT_FALSE(info["layers"][0].contains("parentCid"));
  EXPECT_EQ(info["layers"][2]["parentCid"], info["layers"][1]["cid"]);
  EXPECT_EQ(info["parentCid"], info["layers"][1]["cid"]);

  const std::string text = vmdkctl("info top.vmdk").out;
  EXPECT_THAT(text, HasSubstr("virtual size     10 MiB (10485760 bytes)\n"));
  EXPECT_THAT(text, HasSubstr("format           monolithicSparse, version 1, grain 64 KiB\n"));
  EXPECT_THAT(text, HasSubstr("(matches)"));
  EXPECT_LT(text.find("base.vmdk"), text.find("middle.vmdk"));
}

TEST_F(VmdkctlTest, InfoShowsAChainWhoseParentWasChanged) {
  create("base.vmdk 10M");
  create("--parent=base.vmdk child.vmdk");
  const std::string cid = json_of("info --json base.vmdk")["cid"];
  const std::string other = cid == "0badcafe" ? "0badcaff" : "0badcafe";
  std::ifstream file(path("base.vmdk"), std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)), {});
  poke("base.vmdk", content.find("\nCID=") + 5, other);

  const CommandResult text = vmdkctl("info child.vmdk");
  EXPECT_EQ(text.status, 0) << text.to_text();
  EXPECT_THAT(text.out, HasSubstr("does not match"));
  const json info = json::parse(vmdkctl("info --json child.vmdk").out);
  EXPECT_EQ(info["parentMatches"], false);
  EXPECT_EQ(info["parentCid"], cid);
  EXPECT_EQ(info["layers"][0]["cid"], other);
}

TEST_F(VmdkctlTest, InfoShowsWhatIsKnownWithoutAMissingParent) {
  create("base.vmdk 10M");
  create("--parent=base.vmdk middle.vmdk");
  create("--parent=middle.vmdk top.vmdk");
  fs::remove(path("base.vmdk"));
  for (const std::string image : {"middle.vmdk", "top.vmdk"}) {
    const CommandResult text = vmdkctl("info " + image);
    EXPECT_EQ(text.status, 2) << image;
    EXPECT_THAT(text.out, HasSubstr("virtual size     10 MiB (10485760 bytes)\n")) << image;
    EXPECT_THAT(text.out, HasSubstr("(what is beneath it was not found)")) << image;
    EXPECT_THAT(text.err, AllOf(HasSubstr("middle.vmdk: parent disk not found"),
                                HasSubstr("wanted:    base.vmdk"), HasSubstr("looked at: "),
                                HasSubstr("base.vmdk: no such file"), HasSubstr("--parent=FILE")));
  }
  EXPECT_THAT(vmdkctl("info middle.vmdk").out, HasSubstr("(not found)"));
  const json info = json::parse(vmdkctl("info --json top.vmdk").out);
  EXPECT_EQ(info["chainComplete"], false);
  EXPECT_THAT(info["chainError"].get<std::string>(), HasSubstr("wanted:    base.vmdk"));
  EXPECT_EQ(info["layers"].size(), 2U);
  EXPECT_TRUE(info["layers"][0]["parentMatches"].is_null());
  EXPECT_EQ(info["parentMatches"], true);
  // Nothing is mounted, mapped or read of such a chain.
  EXPECT_EQ(vmdkctl("map top.vmdk").status, 2);
}

TEST_F(VmdkctlTest, InfoTakesSeveralImagesAndGoesOnAfterAFailure) {
  create("a.vmdk 1M");
  create("b.vmdk 2M");
  const CommandResult result = vmdkctl("info --json a.vmdk missing.vmdk b.vmdk");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("missing.vmdk"), HasSubstr("No such file")));
  const std::vector<std::string> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(json::parse(lines[0])["virtualBytes"], kMiB);
  EXPECT_EQ(json::parse(lines[1])["virtualBytes"], 2 * kMiB);
}

TEST_F(VmdkctlTest, InfoRefusesWhatIsNoImage) {
  std::ofstream(path("notes.txt")) << "no disk at all\n";
  const CommandResult result = vmdkctl("info notes.txt");
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, StartsWith("vmdkctl: notes.txt: "));
}

TEST_F(VmdkctlTest, InfoWorksBesideAWriterAndMapWhenAskedTo) {
  create("disk.vmdk 10M");
  PosixFileSystem file_system;
  ASSERT_OK_AND_ASSIGN(const auto writer, Disk::open(file_system, path("disk.vmdk"), {}));
  EXPECT_EQ(vmdkctl("info disk.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("map --share disk.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("map disk.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 1);
}

TEST_F(VmdkctlTest, NamesThatAreNotUtf8KeepTheirBytesInJson) {
  create("disk.vmdk 1M");
  const std::string name = "d\xE4sk.vmdk";
  fs::rename(path("disk.vmdk"), path(name));
  const json info = json_of("info --json " + shell_word(name));
  EXPECT_EQ(info["image"], "d\xEF\xBF\xBDsk.vmdk");
  EXPECT_EQ(info["imageBase64"], "ZORzay52bWRr");
  EXPECT_TRUE(info["layers"][0].contains("fileBase64"));
}

TEST_F(VmdkctlTest, NamesCannotCommandTheTerminal) {
  create("disk.vmdk 1M");
  const std::string name = "d\x1b[31msk.vmdk";
  fs::rename(path("disk.vmdk"), path(name));
  for (const std::string verb : {"info ", "check ", "map "}) {
    const CommandResult result = vmdkctl(verb + shell_word(name));
    EXPECT_EQ(result.status, 0) << result.to_text();
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("\x1b"))) << verb;
  }
  EXPECT_THAT(vmdkctl("info " + shell_word(name)).out, HasSubstr("d\\x1b[31msk.vmdk"));
  EXPECT_THAT(vmdkctl("info " + shell_word("x\x1b.vmdk")).err,
              AllOf(HasSubstr("x\\x1b.vmdk"), Not(HasSubstr("\x1b"))));
}

TEST_F(VmdkctlTest, SalvageTellsWhatWouldBeDone) {
  create("disk.vmdk 10M");
  EXPECT_EQ(json_of("info --json --salvage disk.vmdk")["salvagedCount"], 0);
  EXPECT_FALSE(json_of("info --json disk.vmdk").contains("salvaged"));
  EXPECT_THAT(vmdkctl("info --salvage disk.vmdk").out, HasSubstr("nothing had to be"));
  create("--type=twoGbMaxExtentFlat split.vmdk 5G");
  fs::remove(path("split-f002.vmdk"));
  const CommandResult refused = vmdkctl("info split.vmdk");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("--salvage reads what is sound"));
  const CommandResult info = vmdkctl("info --salvage split.vmdk");
  EXPECT_EQ(info.status, 0) << info.to_text();
  EXPECT_THAT(info.out, HasSubstr("of the disk read EIO"));
  const json told = json_of("info --json --salvage split.vmdk");
  EXPECT_EQ(told["salvagedCount"], 1);
  EXPECT_THAT(told["salvaged"][0].get<std::string>(), HasSubstr("split-f002.vmdk"));
  const CommandResult map = vmdkctl("map --salvage split.vmdk");
  EXPECT_EQ(map.status, 0) << map.to_text();
  EXPECT_THAT(map.out, HasSubstr("unreadable"));
  EXPECT_EQ(vmdkctl("map split.vmdk").status, 2);
}

}  // namespace
}  // namespace vmdk::test
