// vmdkctl map: where the bytes of a disk are.
#include <fstream>
#include <string>
#include <vector>

#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(VmdkctlTest, MapShowsWhereTheBytesAre) {
  create("base.vmdk 10M");
  write_data("base.vmdk", kMiB, 128 * kKiB);
  create("--parent=base.vmdk child.vmdk");
  write_data("child.vmdk", kMiB + 64 * kKiB, 64 * kKiB);

  const json map = json_of("map --json child.vmdk");
  EXPECT_EQ(map["schema"], 1);
  EXPECT_EQ(map["virtualBytes"], 10 * kMiB);
  ASSERT_EQ(map["runs"].size(), 4U);
  std::uint64_t end = 0;
  for (const json& run : map["runs"]) {
    EXPECT_EQ(run["offset"], end) << "runs have no gaps";
    end += run["length"].get<std::uint64_t>();
  }
  EXPECT_EQ(end, 10 * kMiB);
  const std::vector<std::string> states{"hole", "data", "data", "hole"};
  for (std::size_t i = 0; i < states.size(); ++i)
    EXPECT_EQ(map["runs"][i]["state"], states[i]) << i;
  EXPECT_EQ(map["runs"][1]["offset"], kMiB);
  EXPECT_EQ(map["runs"][1]["length"], 64 * kKiB);
  EXPECT_EQ(map["runs"][1]["layer"], 0);
  EXPECT_EQ(map["runs"][2]["layer"], 1);
  EXPECT_FALSE(map["runs"][0].contains("layer"));

  // The place it names holds the data.
  std::ifstream file(fs::path(folder_.path()) / map["runs"][2]["file"].get<std::string>(),
                     std::ios::binary);
  file.seekg(map["runs"][2]["fileOffset"].get<std::streamoff>());
  EXPECT_EQ(file.get(), 0x42);
}

TEST_F(VmdkctlTest, MapPrintsOneLineARun) {
  create("disk.vmdk 10M");
  EXPECT_THAT(lines_of(vmdkctl("map disk.vmdk").out),
              ElementsAre(HasSubstr("offset"), AllOf(HasSubstr("10485760"), HasSubstr("hole"))));
}

TEST_F(VmdkctlTest, InfoAndMapShowAnOlderLayer) {
  create("base.vmdk 1M");
  write_data("base.vmdk", 0, 512);
  create("--parent=base.vmdk child.vmdk");
  write_data("child.vmdk", 64 * kKiB, 512);
  const json all = json_of("map --json child.vmdk");
  EXPECT_EQ(all["runs"].size(), 3U);
  for (const char* layer : {"0", "base", "base.vmdk"}) {
    const json map = json_of(fmt::format("map --json --layer={} child.vmdk", layer));
    ASSERT_EQ(map["runs"].size(), 2U) << layer;
    EXPECT_EQ(map["runs"][0]["layer"], 0);
    const json info = json_of(fmt::format("info --json --layer={} child.vmdk", layer));
    EXPECT_EQ(info["layers"].size(), 1U);
  }
  const CommandResult none = vmdkctl("info --layer=2 child.vmdk");
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.err, HasSubstr("0  "));
  EXPECT_THAT(none.err, HasSubstr("base.vmdk"));
}

}  // namespace
}  // namespace vmdk::test
