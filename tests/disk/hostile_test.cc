// Images that are made to mislead, and ways round the guards.
#include <filesystem>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/create.h>

#include "disk_fixture.h"
#include "io/posix_file_system.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 64 * kKiB;

class HostileTest : public DiskFixture {};

TEST_F(HostileTest, ManyLinesForOneSparseFile) {
  SparseSpec part;
  part.capacity = kMiB;
  part.descriptor = std::nullopt;
  make("/vm/x.vmdk", part);
  DescriptorSpec descriptor;
  descriptor.create_type = "twoGbMaxExtentSparse";
  descriptor.extent_lines.assign(100, extent_line("RW", kMiB, "SPARSE", "x.vmdk"));
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("name the same sparse extent"));
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage("name the same sparse extent"));
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(memory_, "/vm/d.vmdk", {}));
  EXPECT_EQ(report.exit_code(), 2);
}

TEST_F(HostileTest, AFileThatSaysItIsExabytesLong) {
  const BuiltSparse built = make_sparse("/vm/d.vmdk", {}, "data");
  memory_.truncate("/vm/d.vmdk", std::uint64_t{1} << 60U);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  EXPECT_EQ(read(*disk, 0, 4), "data");
}

TEST_F(HostileTest, GrainsBehindTheExtentLineAreLeftAlone) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.descriptor->extent_lines = {extent_line("RW", 4 * kKiB, "SPARSE", "d.vmdk")};
  GrainSpec grain;
  grain.index = 9;
  grain.data = filled(kGrain, 'z');
  spec.grains.push_back(grain);
  const BuiltSparse built = make("/vm/d.vmdk", spec);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  ASSERT_OK(write(*disk, 0, "new"));
  ASSERT_OK(disk->close());
  EXPECT_EQ(memory_.bytes("/vm/d.vmdk", built.data.at(9), kGrain), filled(kGrain, 'z'));
}

TEST_F(HostileTest, AGrainInsideATableThatStraddlesTheMetadatasEnd) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.edit_header = [](SparseHeader& header) {
    header.overhead = Sectors(header.overhead.count() - 128);
  };
  GrainSpec grain;
  spec.grains.push_back(grain);
  const BuiltSparse built = make("/vm/d.vmdk", spec);
  const std::uint64_t table = built.table_at(0) / kSectorSize;
  // The table's second sector is the first that the header gives to grains.
  SparseHeader header = built.layout.header;
  header.overhead = Sectors(table + 1);
  const auto encoded = encode_sparse_header(header);
  memory_.poke("/vm/d.vmdk", 0, encoded);
  poke_entry("/vm/d.vmdk", built.entry_at(0), static_cast<std::uint32_t>(table + 1));
  poke_entry("/vm/d.vmdk", built.entry_at(0, true), static_cast<std::uint32_t>(table + 1));
  EXPECT_FALSE(open("/vm/d.vmdk"));
}

TEST_F(HostileTest, AParentThatNamesTheChildsFile) {
  ASSERT_OK(build_split_sparse(memory_, "/vm/p.vmdk", {SparseSpec{.capacity = kMiB}}));
  DescriptorSpec child = child_of("p.vmdk");
  child.create_type = "twoGbMaxExtentSparse";
  child.extent_lines = {extent_line("RW", kMiB, "SPARSE", "p-s001.vmdk")};
  ASSERT_OK(build_descriptor(memory_, "/vm/c.vmdk", child));
  EXPECT_THAT(open("/vm/c.vmdk"), HasMessage("named twice in the chain"));
}

TEST_F(HostileTest, ChangeTrackingWithoutItsVersion) {
  DescriptorSpec descriptor;
  descriptor.more_lines = {"changeTrackPath=\"d-ctk.vmdk\""};
  make_sparse("/vm/d.vmdk", descriptor);
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("change tracking"));
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
}

TEST_F(HostileTest, KindsThatAreNotServedCannotBeChecked) {
  DescriptorSpec descriptor;
  descriptor.create_type = "weirdKind";
  make_sparse("/vm/d.vmdk", descriptor);
  EXPECT_THAT(check_image(memory_, "/vm/d.vmdk", {}), IsError(ErrorCode::kUnsupported));
}

TEST_F(HostileTest, RepairsKeepTheirHandsOffMissingTables) {
  SparseSpec spec;
  spec.capacity = 128 * kMiB;
  spec.unclean = true;
  spec.missing_tables = {0};
  GrainSpec grain;
  grain.index = 600;
  grain.data = filled(kGrain, 'm');
  spec.grains.push_back(grain);
  make("/vm/d.vmdk", spec);
  CheckOptions options;
  options.repair = true;
  ASSERT_OK(check_image(memory_, "/vm/d.vmdk", options));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  EXPECT_EQ(read(*disk, 600 * kGrain, 3), "mmm");
}

TEST_F(HostileTest, OnlyAParentThatIsMissingUsesUpAGivenOne) {
  make_sparse("/away/base.vmdk", {}, "base");
  make_sparse("/vm/s1.vmdk", child_of("base.vmdk", 0x12345678, 0xAAAA0001));
  make_sparse("/vm/s2.vmdk", child_of("s1.vmdk", 0xAAAA0001, 0xAAAA0002));
  options_.parents = {"/away/base.vmdk"};
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/s2.vmdk"));
  EXPECT_EQ(read(*disk, 0, 4), "base");
}

TEST_F(HostileTest, AnImageDoesNotGrowWithEachSession) {
  CreateOptions create;
  create.capacity = 32 * kMiB;
  ASSERT_OK(create_image(memory_, "/vm/d.vmdk", create));
  const std::string data(24 * kMiB, 'd');
  std::uint64_t first = 0;
  for (int session = 0; session < 4; ++session) {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    for (std::uint64_t at = 0; at < data.size(); at += kMiB)
      ASSERT_OK(write(*disk, at, std::string_view(data).substr(at, kMiB)));
    ASSERT_OK(disk->flush());
    ASSERT_OK(disk->discard(DiskOffset(0), 24 * kMiB));
    ASSERT_OK(disk->close());
    if (session == 0)
      first = memory_.size("/vm/d.vmdk");
    EXPECT_EQ(memory_.size("/vm/d.vmdk"), first) << "session " << session;
  }
}

TEST(GuardsTest, FollowSymbolicLinks) {
  const TempDir folder;
  PosixFileSystem files;
  CreateOptions create;
  create.capacity = kMiB;
  ASSERT_OK(create_image(files, folder / "base.vmdk", create));
  CreateOptions child;
  child.parent = folder / "base.vmdk";
  ASSERT_OK(create_image(files, folder / "child.vmdk", child));
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink("../base.vmdk", folder / "sub/link.vmdk");
  EXPECT_THAT(Disk::open(files, folder / "sub/link.vmdk", {}), HasMessage("is a snapshot of it"));
  std::filesystem::create_directory(folder / "child.vmdk.lck");
  ASSERT_OK(files.create(folder / "child.vmdk.lck/M1.lck"));
  std::filesystem::create_symlink("../child.vmdk", folder / "sub/other.vmdk");
  EXPECT_THAT(Disk::open(files, folder / "sub/other.vmdk", {}), HasMessage("VMware product"));
}

// A snapshot that names its parent by a link: in the folder of the image, and in that of the link.
TEST(GuardsTest, FindChildrenOfALink) {
  PosixFileSystem files;
  for (const std::string name : {"symbolic.vmdk", "hard.vmdk", "links/link.vmdk"}) {
    SCOPED_TRACE(name);
    const TempDir folder;
    CreateOptions create;
    create.capacity = kMiB;
    ASSERT_OK(create_image(files, folder / "base.vmdk", create));
    std::filesystem::create_directory(folder / "links");
    const auto link = folder / name;
    if (name == "hard.vmdk")
      std::filesystem::create_hard_link(folder / "base.vmdk", link);
    else
      std::filesystem::create_symlink(folder / "base.vmdk", link);
    CreateOptions child;
    child.parent = link;
    ASSERT_OK(create_image(files, link.parent_path() / "kid.vmdk", child));
    EXPECT_THAT(Disk::open(files, link, {}), HasMessage("kid.vmdk is a snapshot of it"));
    // From the image itself, no way leads to another folder.
    EXPECT_EQ(Disk::open(files, folder / "base.vmdk", {}).has_value(), name == "links/link.vmdk");
  }
}

// It names the link that it is opened by: its parent is itself, and no snapshot of it is there.
TEST(GuardsTest, AnImageThatIsItsParentByALinkIsALoop) {
  PosixFileSystem files;
  for (const std::string name : {"link.vmdk", "hard.vmdk"}) {
    const TempDir folder;
    SparseSpec spec;
    spec.capacity = kMiB;
    spec.descriptor->cid = 0x5;
    spec.descriptor->parent_cid = 0x5;
    spec.descriptor->parent_hint = name;
    ASSERT_OK(build_sparse(files, folder / "self.vmdk", spec));
    const auto link = folder / name;
    if (name == "hard.vmdk")
      std::filesystem::create_hard_link(folder / "self.vmdk", link);
    else
      std::filesystem::create_symlink("self.vmdk", link);
    for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
      SCOPED_TRACE(name + (access == Access::kReadOnly ? " read" : " written"));
      OpenOptions options;
      options.access = access;
      EXPECT_THAT(Disk::open(files, link, options),
                  HasMessage("the chain of parents comes back to this file"));
    }
  }
}

}  // namespace
}  // namespace vmdk::test
