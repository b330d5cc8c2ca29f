// check_image(): what it finds, what it mends, what it leaves alone.
#include <string>

#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "disk_fixture.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 64 * kKiB;

class CheckTest : public DiskFixture {
 protected:
  CheckReport check(bool repair = false, bool repair_tables = false) {
    CheckOptions options;
    options.repair = repair;
    options.repair_tables = repair_tables;
    auto report = check_image(memory_, "/vm/d.vmdk", options);
    EXPECT_OK(report);
    return report ? *report : CheckReport{};
  }

  // Two grains of data and what `change` says of the rest.
  void make_image(bool unclean) {
    SparseSpec spec;
    spec.capacity = 64 * kMiB;
    spec.unclean = unclean;
    for (const std::uint64_t index : {0U, 600U}) {
      GrainSpec grain;
      grain.index = index;
      grain.data = filled(kGrain, 'a' + static_cast<unsigned>(index / 600));
      spec.grains.push_back(grain);
    }
    built_ = make("/vm/d.vmdk", spec);
  }

  std::uint32_t entry(std::uint64_t grain, bool redundant) const {
    return peek("/vm/d.vmdk", built_.entry_at(grain, redundant));
  }

  void set_entry(std::uint64_t grain, bool redundant, std::uint32_t value) {
    poke_entry("/vm/d.vmdk", built_.entry_at(grain, redundant), value);
  }

  static std::string text_of(const CheckReport& report) {
    std::string text;
    for (const Finding& finding : report.findings)
      text += finding.file + ": " + finding.text + "\n";
    for (const std::string& repair : report.repairs)
      text += "repaired: " + repair + "\n";
    return text;
  }

  static void expect_says(const CheckReport& report, const std::string& words) {
    EXPECT_NE(text_of(report).find(words), std::string::npos) << words << " in:\n"
                                                              << text_of(report);
  }

  BuiltSparse built_;
};

TEST_F(CheckTest, ACleanImage) {
  make_image(false);
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 0) << text_of(report);
  EXPECT_TRUE(report.findings.empty()) << text_of(report);
  EXPECT_EQ(report.allocated_grains, 2U);
  EXPECT_EQ(report.total_grains, 1024U);
  EXPECT_TRUE(all_bytes() == before) << "nothing to mend, nothing written";
}

TEST_F(CheckTest, UnusedSpaceOfACleanImageIsCountedAndLeftAlone) {
  make_image(false);
  memory_.truncate("/vm/d.vmdk", built_.file_size + 2 * kGrain);
  const CheckReport report = check(true);
  EXPECT_EQ(report.exit_code(), 0);
  EXPECT_EQ(report.unused_bytes, 2 * kGrain);
  EXPECT_TRUE(report.repairs.empty()) << text_of(report);
  EXPECT_EQ(memory_.size("/vm/d.vmdk"), built_.file_size + 2 * kGrain);
}

TEST_F(CheckTest, TheMarkAndLeakedSpaceAreMended) {
  make_image(true);
  memory_.truncate("/vm/d.vmdk", built_.file_size + 2 * kGrain);
  const auto before = all_bytes();
  const CheckReport found = check();
  EXPECT_EQ(found.exit_code(), 3);
  expect_says(found, "was not closed cleanly");
  expect_says(found, "leaked");
  EXPECT_TRUE(all_bytes() == before) << "a check without a repair writes nothing";
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_EQ(mended.repairs.size(), 2U) << text_of(mended);
  EXPECT_FALSE(marked("/vm/d.vmdk"));
  EXPECT_EQ(memory_.size("/vm/d.vmdk"), built_.file_size);
}

TEST_F(CheckTest, SpaceInTheMiddleIsGivenBack) {
  make_image(true);
  set_entry(0, false, 0);
  set_entry(0, true, 0);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_EQ(memory_.bytes("/vm/d.vmdk", built_.data.at(0), kGrain), filled(kGrain, 0));
  EXPECT_EQ(memory_.bytes("/vm/d.vmdk", built_.data.at(600), kGrain), filled(kGrain, 'b'));
}

TEST_F(CheckTest, AnInterruptedCommitIsFinished) {
  make_image(true);
  set_entry(600, false, 0);
  const CheckReport found = check();
  EXPECT_EQ(found.exit_code(), 3);
  expect_says(found,
              "a commit was interrupted: the copies of the grain tables differ in 1 entries");
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  expect_says(mended, "1 redundant grain tables were made equal to the primary ones");
  EXPECT_EQ(entry(600, true), 0U);
  EXPECT_NE(entry(0, true), 0U);
}

TEST_F(CheckTest, UnequalCopiesOfACleanImageAreDamage) {
  make_image(false);
  set_entry(600, true, 0);
  const auto before = all_bytes();
  const CheckReport found = check(true);
  EXPECT_EQ(found.exit_code(), 2);
  expect_says(found, "grain 600: the primary table says");
  expect_says(found, "nothing was changed: the image is damaged");
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(CheckTest, TablesAreMendedFromTheSoundPrimary) {
  make_image(false);
  set_entry(600, true, 3);  // into the metadata
  EXPECT_EQ(check().exit_code(), 2);
  const CheckReport mended = check(false, true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_EQ(entry(600, true), entry(600, false));
  EXPECT_EQ(entry(600, true) * kSectorSize, built_.data.at(600));
}

TEST_F(CheckTest, TablesAreMendedFromTheSoundRedundantCopy) {
  make_image(false);
  const std::uint32_t sound = entry(600, true);
  set_entry(600, false, 3);
  const CheckReport mended = check(false, true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  expect_says(mended, "1 primary grain tables were made equal to the redundant ones");
  EXPECT_EQ(entry(600, false), sound);
  EXPECT_OK(open("/vm/d.vmdk"));
}

TEST_F(CheckTest, WithBothCopiesDamagedNothingIsChanged) {
  make_image(false);
  set_entry(600, false, 3);
  set_entry(601, true, 3);
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_says(report, "both copies of its grain tables are damaged; nothing was changed");
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(CheckTest, EqualDamageIsNotMended) {
  make_image(true);
  set_entry(5, false, entry(0, false));
  set_entry(5, true, entry(0, false));
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_says(report, "is shared with another grain");
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(CheckTest, DamagedHeadersAndDirectoriesAreFindings) {
  make_image(false);
  poke_entry("/vm/d.vmdk", built_.directory_entry_at(1), 0xFFFFFF);
  expect_says(check(), "lies behind the end of the file");
  EXPECT_EQ(check().exit_code(), 2);
}

// The same in an image's own file, in a member of a split one, and in a parent.
TEST_F(CheckTest, ADamagedHeaderIsDamageWhereverItStands) {
  const auto spoil = [&](const std::filesystem::path& path) {
    const std::array<std::byte, 8> grain_size{std::byte{7}};
    memory_.poke(path, 20, grain_size);
  };
  make_image(false);
  ASSERT_OK(build_split_sparse(memory_, "/vm/split.vmdk", {SparseSpec{.capacity = kMiB}}));
  make_sparse("/vm/child.vmdk", child_of("d.vmdk"));
  spoil("/vm/d.vmdk");
  spoil("/vm/split-s001.vmdk");
  for (const char* image : {"/vm/d.vmdk", "/vm/split.vmdk", "/vm/child.vmdk"}) {
    CheckOptions options;
    options.repair = true;
    const auto before = all_bytes();
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(memory_, image, options));
    EXPECT_EQ(report.exit_code(), 2) << image;
    expect_says(report, "grainSize");
    EXPECT_TRUE(all_bytes() == before) << image;
  }
  memory_.put("/vm/notes.txt", "no image");
  EXPECT_THAT(check_image(memory_, "/vm/notes.txt", {}), IsError(ErrorCode::kUnsupported));
}

TEST_F(CheckTest, FiguresAreThoseOfEachImage) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  const CheckReport report = check();
  EXPECT_EQ(report.allocated_grains, 0U);
  EXPECT_EQ(report.total_grains, 16U);
  ASSERT_EQ(report.layers.size(), 2U);
  EXPECT_EQ(report.layers[0].file, "/vm/d.vmdk");
  EXPECT_EQ(report.layers[0].allocated_grains, 0U);
  EXPECT_EQ(report.layers[1].file, "/vm/base.vmdk");
  EXPECT_EQ(report.layers[1].allocated_grains, 1U);
  EXPECT_EQ(report.layers[1].total_grains, 16U);
}

TEST_F(CheckTest, TheWholeChainIsChecked) {
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  expect_says(check(), "parent disk not found");
  EXPECT_EQ(check().exit_code(), 2);
  const auto base = make_sparse("/vm/base.vmdk", {}, "base");
  EXPECT_EQ(check().exit_code(), 0);
  poke_entry("/vm/base.vmdk", base.entry_at(3), 5);
  poke_entry("/vm/base.vmdk", base.entry_at(3, true), 5);
  const CheckReport report = check();
  EXPECT_EQ(report.exit_code(), 2);
  expect_says(report, "/vm/base.vmdk: grain 3");
  CheckOptions only_top;
  only_top.chain = false;
  EXPECT_EQ(check_image(memory_, "/vm/d.vmdk", only_top)->exit_code(), 0);
}

TEST_F(CheckTest, ParentsAreNeverRepaired) {
  SparseSpec unclean;
  unclean.capacity = kMiB;
  unclean.unclean = true;
  make("/vm/base.vmdk", unclean);
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  const auto before = all_bytes();
  EXPECT_EQ(check(true, true).exit_code(), 3);
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(CheckTest, ALoopOfParentsEnds) {
  make_sparse("/vm/d.vmdk", child_of("d.vmdk", 5, 5));
  expect_says(check(), "the chain of parents does not end");
}

TEST_F(CheckTest, FlatFilesThatAreCut) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}, {.length = kMiB}}));
  EXPECT_EQ(check().exit_code(), 0);
  memory_.truncate("/vm/d-f002.vmdk", 100);
  expect_says(check(), "/vm/d-f002.vmdk: cut: it has 100 bytes, its line needs 1048576");
  ASSERT_OK(memory_.remove("/vm/d-f001.vmdk"));
  const CheckReport report = check();
  EXPECT_EQ(report.damage_count, 2U) << text_of(report);
}

// What may not be looked at is neither sound nor damaged.
TEST_F(CheckTest, ExtentsOutsideTheFolderAreNotJudged) {
  memory_.put("/other/f.raw", std::string(kMiB, 'f'));
  DescriptorSpec descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extent_lines = {extent_line("RW", kMiB, "FLAT", "../other/f.raw", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  EXPECT_THAT(check_image(files_, "/vm/d.vmdk", {}), IsError(ErrorCode::kDenied));
  CheckOptions allowed;
  allowed.open.allow_dirs = {"/other"};
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, "/vm/d.vmdk", allowed));
  EXPECT_EQ(report.exit_code(), 0);
}

TEST_F(CheckTest, ADescriptorIsNoExtentOfItself) {
  DescriptorSpec descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extent_lines = {extent_line("RW", kSectorSize, "FLAT", "d.vmdk", 0)};
  descriptor.more_lines = {"# " + std::string(kSectorSize, '-')};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, "/vm/d.vmdk", {}));
  EXPECT_EQ(report.exit_code(), 2);
}

TEST_F(CheckTest, AnImageThatVmwareUsesIsNotRepaired) {
  make_image(true);
  memory_.put("/vm/d.vmdk.lck/M1.lck", "x");
  const auto before = all_bytes();
  EXPECT_EQ(check().exit_code(), 3) << "looking is allowed";
  CheckOptions options;
  options.repair = true;
  EXPECT_THAT(check_image(memory_, "/vm/d.vmdk", options), IsError(ErrorCode::kBusy));
  EXPECT_TRUE(all_bytes() == before);
  options.open.force_stale_lck = true;
  EXPECT_EQ(check_image(memory_, "/vm/d.vmdk", options)->exit_code(), 0);
}

TEST_F(CheckTest, AnImageInUseIsNotChecked) {
  make_image(false);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  EXPECT_THAT(check_image(memory_, "/vm/d.vmdk", {}), IsError(ErrorCode::kBusy));
}

}  // namespace
}  // namespace vmdk::test
