// vmdkctl check: exit statuses, findings, repairs.
#include <string>

#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// Bytes in a fresh image of 10 MiB with 64 KiB grains: header, 20 sectors of descriptor, redundant
// directory (sector 21) and table (22 to 25), directory (26) and table (27 to 30).
constexpr std::uint64_t kUncleanMark = 72;
constexpr std::uint64_t kRedundantTable = 22 * kSectorSize;
constexpr std::uint64_t kTable = 27 * kSectorSize;

TEST_F(VmdkctlTest, CheckOfACleanImageEndsWith0) {
  create("disk.vmdk 10M");
  write_data("disk.vmdk", 0, 100000);
  const CommandResult result = vmdkctl("check disk.vmdk");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_THAT(result.out, HasSubstr("disk.vmdk: clean, 2 of 160 grains in use"));
  const json report = json_of("check --json disk.vmdk");
  EXPECT_EQ(report["verdict"], "clean");
  EXPECT_EQ(report["damageCount"], 0);
  EXPECT_EQ(report["allocatedGrains"], 2);
}

TEST_F(VmdkctlTest, CheckShowsEachImagesOwnFigures) {
  create("base.vmdk 10M");
  write_data("base.vmdk", 0, 100000);
  create("--parent=base.vmdk child.vmdk");
  const CommandResult result = vmdkctl("check child.vmdk");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_THAT(result.out, AllOf(HasSubstr("base.vmdk: parent, 2 of 160 grains in use\n"),
                                HasSubstr("child.vmdk: clean, 0 of 160 grains in use\n")));
  const json report = json_of("check --json child.vmdk");
  EXPECT_EQ(report["allocatedGrains"], 0);
  ASSERT_EQ(report["layers"].size(), 2U);
  EXPECT_EQ(report["layers"][0]["allocatedGrains"], 2);
  EXPECT_EQ(report["layers"][1]["allocatedGrains"], 0);
}

TEST_F(VmdkctlTest, CheckThatCannotRunEndsWith1) {
  const CommandResult result = vmdkctl("check missing.vmdk");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("missing.vmdk"));
}

TEST_F(VmdkctlTest, CheckOfADamagedImageEndsWith2AndNamesThePlace) {
  create("disk.vmdk 10M");
  // Both copies of the entry of grain 3 point into the header.
  const std::string entry("\x02\0\0\0", 4);
  poke("disk.vmdk", kTable + 3 * 4, entry);
  poke("disk.vmdk", kRedundantTable + 3 * 4, entry);
  const CommandResult result = vmdkctl("check disk.vmdk");
  EXPECT_EQ(result.status, 2) << result.to_text();
  EXPECT_THAT(result.out, HasSubstr("disk.vmdk: damage: "));
  const json report = json_of("check --json disk.vmdk");
  EXPECT_EQ(report["verdict"], "damage");
  EXPECT_GE(report["damageCount"], 1);
  ASSERT_FALSE(report["findings"].empty());
  EXPECT_EQ(report["findings"][0]["severity"], "damage");
  // Its header is no exception.
  poke("disk.vmdk", 20, "\x07");
  const CommandResult header = vmdkctl("check disk.vmdk");
  EXPECT_EQ(header.status, 2) << header.to_text();
  EXPECT_THAT(header.out, HasSubstr("disk.vmdk: damage: sparse header: grainSize 7"));
}

TEST_F(VmdkctlTest, CheckFindsAnUncleanMarkAndRepairTakesItAway) {
  create("disk.vmdk 10M");
  poke("disk.vmdk", kUncleanMark, "\x01");
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 3);
  EXPECT_EQ(json::parse(vmdkctl("info --json disk.vmdk").out)["clean"], false);
  const CommandResult repair = vmdkctl("check --repair disk.vmdk");
  EXPECT_EQ(repair.status, 0) << repair.to_text();
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 0);
  EXPECT_EQ(json_of("info --json disk.vmdk")["clean"], true);
}

TEST_F(VmdkctlTest, RepairEndsAnInterruptedCommit) {
  create("disk.vmdk 10M");
  write_data("disk.vmdk", 0, 65536);
  poke("disk.vmdk", kUncleanMark, "\x01");
  poke("disk.vmdk", kRedundantTable, std::string(4, '\0'));
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 3);
  const CommandResult repair = vmdkctl("check --repair disk.vmdk");
  EXPECT_EQ(repair.status, 0) << repair.to_text();
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 0);
  EXPECT_NE(load32("disk.vmdk", kTable), 0U);
  EXPECT_EQ(load32("disk.vmdk", kRedundantTable), load32("disk.vmdk", kTable));
}

TEST_F(VmdkctlTest, UnequalCopiesUnderAClearMarkAreRepairedOnlyWhenTablesAreNamed) {
  create("disk.vmdk 10M");
  write_data("disk.vmdk", 0, 65536);
  poke("disk.vmdk", kRedundantTable, std::string(4, '\0'));
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("check --repair disk.vmdk").status, 2);
  EXPECT_EQ(load32("disk.vmdk", kRedundantTable), 0U);
  const CommandResult repair = vmdkctl("check disk.vmdk --repair=tables");
  EXPECT_EQ(repair.status, 0) << repair.to_text();
  EXPECT_EQ(load32("disk.vmdk", kRedundantTable), load32("disk.vmdk", kTable));
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 0);
}

}  // namespace
}  // namespace vmdk::test
