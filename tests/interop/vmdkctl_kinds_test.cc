// All verbs of vmdkctl over the kinds that it does not make itself.
#include <string>
#include <vector>

#include "support/esx_builder.h"
#include "support/file_helpers.h"
#include "support/stream_builder.h"
#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(VmdkctlTest, CompressedImagesAreDescribedMappedAndChecked) {
  StreamSpec spec;
  spec.capacity = 10 * kMiB;
  for (const std::uint64_t index : {16U, 17U}) {
    StreamGrain grain;
    grain.index = index;
    grain.data = filled(64 * kKiB, 'x');
    spec.grains.push_back(grain);
  }
  PosixFileSystem files;
  ASSERT_OK_AND_ASSIGN(const BuiltStream built, build_stream(files, path("s.vmdk"), spec));
  EXPECT_THAT(vmdkctl("info s.vmdk").out,
              HasSubstr("streamOptimized, version 3, grain 64 KiB, compressed"));
  EXPECT_EQ(json_of("info --json s.vmdk")["layers"][0]["extents"][0]["compressed"], true);
  EXPECT_THAT(
      lines_of(vmdkctl("map s.vmdk").out),
      ElementsAre(HasSubstr("offset"), HasSubstr("hole"),
                  AllOf(HasSubstr("131072"), HasSubstr("data"), HasSubstr("s.vmdk (compressed)")),
                  HasSubstr("hole")));
  const json map = json_of("map --json s.vmdk");
  EXPECT_EQ(map["runs"][1]["compressed"], true);
  EXPECT_EQ(map["runs"][1]["fileOffset"], built.records.at(16));
  EXPECT_THAT(vmdkctl("check s.vmdk").out, HasSubstr("clean, 2 of 160 grains in use"));
  EXPECT_EQ(vmdkctl("check s.vmdk").status, 0);
  poke("s.vmdk", built.records.at(17), std::string(1, '\x55'));
  const CommandResult damaged = vmdkctl("check s.vmdk");
  EXPECT_EQ(damaged.status, 2);
  EXPECT_THAT(damaged.out, HasSubstr("grain 17 (compressed, at sector"));
}

TEST_F(VmdkctlTest, SnapshotsOfEsxAreDescribedMappedAndChecked) {
  PosixFileSystem file_system;
  const std::vector<std::byte> sector(512, std::byte{'c'});
  ASSERT_OK(build_cowd_disk(file_system, path("cowd.vmdk"),
                            {.capacity = 4 * kMiB, .grains = {{.index = 8, .data = sector}}}));
  const json cowd = json_of("info --json cowd.vmdk");
  EXPECT_EQ(cowd["format"]["createType"], "vmfsSparse");
  EXPECT_EQ(cowd["format"]["grainBytes"], 512);
  EXPECT_EQ(cowd["layers"][0]["extents"][0]["type"], "VMFSSPARSE");
  EXPECT_EQ(json_of("map --json cowd.vmdk")["runs"].size(), 3U);
  EXPECT_EQ(vmdkctl("check cowd.vmdk").status, 0);
  poke("cowd-delta.vmdk", kCowdFreeSectorAt, std::string("\x05\0\0\0", 4));
  const CommandResult check = vmdkctl("check cowd.vmdk");
  EXPECT_EQ(check.status, 3);
  EXPECT_THAT(check.out, HasSubstr("its free sector 5 lies before the end of its grains"));
  EXPECT_EQ(vmdkctl("check --repair cowd.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("check cowd.vmdk").status, 0);

  ASSERT_OK(build_sesparse_disk(
      file_system, path("se.vmdk"),
      {.capacity = 20 * kMiB, .grains = {{.index = 8, .data = sector}}, .replay_journal = 1}));
  for (const std::string verb : {"info", "map"}) {
    const CommandResult refused = vmdkctl(verb + " se.vmdk");
    EXPECT_EQ(refused.status, 2) << refused.to_text();
    EXPECT_THAT(refused.err, HasSubstr("--force=journal"));
    EXPECT_EQ(vmdkctl(verb + " --force=journal se.vmdk").status, 0);
    EXPECT_EQ(vmdkctl(verb + " --force=jour se.vmdk").status, 1);
  }
  EXPECT_EQ(vmdkctl("check se.vmdk").status, 3);
}

TEST_F(VmdkctlTest, DisksInAnArchive) {
  if (!have_program("tar"))
    GTEST_SKIP() << "tar is not installed";
  create("a.vmdk 1M");
  write_data("a.vmdk", 0, 512);
  create("b.vmdk 2M");
  ASSERT_COMMAND("cd " + shell_word(folder_.path().string()) +
                 " && tar -cf one.ova a.vmdk && tar -cf two.ova --format=pax a.vmdk b.vmdk");
  EXPECT_EQ(json_of("info --json one.ova")["virtualBytes"], kMiB);
  EXPECT_EQ(json_of("info --json two.ova:b.vmdk")["virtualBytes"], 2 * kMiB);
  EXPECT_EQ(json_of("map --json one.ova")["runs"][0]["state"], "data");
  EXPECT_EQ(vmdkctl("check one.ova").status, 0);
  const CommandResult several = vmdkctl("info two.ova");
  EXPECT_EQ(several.status, 2);
  EXPECT_THAT(several.err, HasSubstr("two.ova:a.vmdk"));
  EXPECT_THAT(several.err, HasSubstr("two.ova:b.vmdk"));
  create("--parent=one.ova child.vmdk");
  EXPECT_EQ(json_of("info --json child.vmdk")["layers"].size(), 2U);
}

}  // namespace
}  // namespace vmdk::test
