// vmdkctl check --repair and --salvage: what is planned, done and left.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "support/file_helpers.h"
#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// As in vmdkctl_check_test.cc: bytes in a fresh image of 10 MiB.
constexpr std::uint64_t kUncleanMark = 72;
constexpr std::uint64_t kRedundantTable = 22 * kSectorSize;
constexpr std::uint64_t kTable = 27 * kSectorSize;

class VmdkctlRepairTest : public VmdkctlTest {
 protected:
  // A mark, a damaged entry of the primary table, and leaked space at the end.
  void make_broken() const {
    create("disk.vmdk 10M");
    write_data("disk.vmdk", 0, 65536);
    poke("disk.vmdk", kUncleanMark, "\x01");
    poke("disk.vmdk", kTable + 5 * 4, "\x03");
    fs::resize_file(path("disk.vmdk"), fs::file_size(path("disk.vmdk")) + 65536);
  }
};

TEST_F(VmdkctlRepairTest, CheckKnowsOnlyTheRepairsThatExist) {
  create("disk.vmdk 10M");
  const std::vector<std::pair<std::string, std::string>> refusals{
      {"--repair=all", "--repair=tables"},
      {"--dry-run", "--dry-run goes with --repair"},
      {"--repair --salvage", "--salvage only looks"},
      {"--repair --force=tables", "\"tables\" is neither stale-lck nor children"}};
  for (const auto& [words, message] : refusals) {
    const CommandResult result = vmdkctl("check " + words + " disk.vmdk");
    EXPECT_EQ(result.status, 1) << words;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
}

TEST_F(VmdkctlRepairTest, ARepairListsItsChangesBeforeAndAfter) {
  make_broken();
  const CommandResult repair = vmdkctl("check --repair disk.vmdk");
  EXPECT_EQ(repair.status, 0) << repair.to_text();
  EXPECT_EQ(repair.err, "");
  const std::string tables = "disk.vmdk: 1 primary grain table made equal to the redundant one";
  const std::string end = "disk.vmdk: 65536 unused bytes cut off at the end of the file";
  const std::string mark = "disk.vmdk: the mark of an unfinished session taken away";
  EXPECT_THAT(
      lines_of(repair.out),
      ElementsAre(HasSubstr("damage: grain 5 "), HasSubstr("damage: grain 5: the primary table"),
                  HasSubstr("note: --repair --dry-run tells"), HasSubstr("leak: was not closed"),
                  HasSubstr("leak: 65536 bytes are used by no grain"), "planned: " + tables,
                  "planned: " + end, "planned: " + mark, "repaired: " + tables, "repaired: " + end,
                  "repaired: " + mark, HasSubstr("disk.vmdk: clean, 1 of 160 grains in use")));
  const CommandResult again = vmdkctl("check --repair disk.vmdk");
  EXPECT_EQ(again.status, 0);
  EXPECT_THAT(lines_of(again.out),
              ElementsAre("disk.vmdk: nothing to repair", HasSubstr("disk.vmdk: clean")));
}

TEST_F(VmdkctlRepairTest, ADryRunListsThePlanAndTheStateAsItIs) {
  make_broken();
  fs::copy_file(path("disk.vmdk"), path("before"));
  const CommandResult plan = vmdkctl("check --repair --dry-run disk.vmdk");
  EXPECT_EQ(plan.status, 2) << plan.to_text();
  EXPECT_THAT(plan.out, HasSubstr("planned: disk.vmdk: 1 primary grain table made equal"));
  EXPECT_THAT(plan.out, Not(HasSubstr("repaired: ")));
  const auto repairs = [&](const std::string& words) {
    // Status 2 is the image's, and no error of the program.
    return json::parse(vmdkctl("check --json --repair " + words + " disk.vmdk").out)["repairs"];
  };
  const json planned = repairs("--dry-run");
  EXPECT_EQ(run_command("cmp " + shell_word(path("disk.vmdk").string()) + " " +
                        shell_word(path("before").string()))
                .status,
            0);
  json done = repairs("");
  ASSERT_EQ(planned.size(), 3U);
  EXPECT_EQ(planned[0]["state"], "planned");
  EXPECT_EQ(planned[0]["file"], "disk.vmdk");
  EXPECT_EQ(planned[0]["what"], "tables");
  EXPECT_EQ(planned[0]["count"], 1);
  EXPECT_EQ(planned[0]["bytes"], 2048);
  EXPECT_EQ(planned[1]["what"], "end");
  EXPECT_EQ(planned[1]["bytes"], 65536);
  EXPECT_EQ(planned[2]["what"], "mark");
  for (json& change : done) {
    EXPECT_EQ(change["state"], "done");
    change["state"] = "planned";
  }
  EXPECT_EQ(done, planned);
}

TEST_F(VmdkctlRepairTest, ARepairSaysWhyItDoesNothing) {
  create("--type=monolithicFlat flat.vmdk 1M");
  const CommandResult flat = vmdkctl("check --repair flat.vmdk");
  EXPECT_EQ(flat.status, 0) << flat.to_text();
  EXPECT_THAT(flat.out, HasSubstr("left: flat.vmdk: flat extents have neither grain tables"));
  const json idle = json_of("check --json --repair flat.vmdk")["repairs"];
  ASSERT_EQ(idle.size(), 1U);
  EXPECT_EQ(idle[0]["state"], "left");
  EXPECT_EQ(idle[0]["what"], "nothing");
  create("disk.vmdk 10M");
  poke("disk.vmdk", kTable, "\x03");
  poke("disk.vmdk", kRedundantTable, "\x03");
  const CommandResult damaged = vmdkctl("check --repair=tables disk.vmdk");
  EXPECT_EQ(damaged.status, 2);
  EXPECT_THAT(damaged.out, HasSubstr("left: disk.vmdk: nothing is changed: "));
}

// Who cannot see what is planned does not get it.
TEST_F(VmdkctlRepairTest, APlanThatCannotBePrintedIsNotCarriedOut) {
  make_broken();
  const CommandResult result = vmdkctl("check --repair disk.vmdk > /dev/full");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("standard output: No space left on device"));
  EXPECT_EQ(load32("disk.vmdk", kTable + 5 * 4), 3U);
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 2);
}

TEST_F(VmdkctlRepairTest, ARepairIsRefusedBesideASnapshot) {
  create("base.vmdk 1M");
  create("--parent=base.vmdk child.vmdk");
  poke("base.vmdk", kUncleanMark, "\x01");
  const CommandResult refused = vmdkctl("check --repair base.vmdk");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("child.vmdk is a snapshot of it"));
  EXPECT_THAT(refused.err, HasSubstr("--force=children repairs it all the same"));
  EXPECT_EQ(vmdkctl("check --repair --force=children base.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("info child.vmdk").status, 0);
}

TEST_F(VmdkctlRepairTest, CheckTellsWhatSalvageWouldDo) {
  create("disk.vmdk 10M");
  EXPECT_THAT(vmdkctl("check --salvage disk.vmdk").out,
              HasSubstr("salvage: nothing would have to be done"));
  EXPECT_EQ(json_of("check --json --salvage disk.vmdk")["salvagedCount"], 0);
  EXPECT_FALSE(json_of("check --json disk.vmdk").contains("salvagedCount"));
  poke("disk.vmdk", kTable + 5 * 4, "\x03");
  const CommandResult check = vmdkctl("check --salvage disk.vmdk");
  EXPECT_EQ(check.status, 2) << "the state of the image";
  EXPECT_THAT(check.out,
              HasSubstr("salvage: disk.vmdk: grain table 0: the redundant copy is read"));
  const json report = json::parse(vmdkctl("check --json --salvage disk.vmdk").out);
  EXPECT_EQ(report["salvagedCount"], 1);
  EXPECT_THAT(report["salvaged"][0].get<std::string>(), HasSubstr("grain table 0"));
}

}  // namespace
}  // namespace vmdk::test
