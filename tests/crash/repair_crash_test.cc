// A repair may be cut short at any moment: whatever is left, the next one ends it, and nothing is
// lost.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "base/bytes.h"
#include "crash/meddling_file_system.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "support/matchers.h"
#include "support/sample_disk.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;

constexpr std::uint32_t kImpossible = 3;  // a sector of the metadata

Result<CheckReport> repaired(FileSystem& files, const SampleDisk& sample, bool tables) {
  CheckOptions options;
  options.repair = true;
  options.repair_tables = tables;
  options.open = quiet_options();
  return check_image(files, sample.image, options);
}

std::string text_of(const CheckReport& report) {
  std::string text;
  for (const Finding& finding : report.findings)
    text += "\n  " + finding.file + ": " + finding.text;
  for (const Repair& repair : report.repairs)
    text += "\n  repair of " + repair.file + ": " + repair.text;
  return text;
}

ReferenceDisk shown_by(FileSystem& files, const SampleDisk& sample) {
  ReferenceDisk shown(sample.capacity());
  auto disk = Disk::open(files, sample.image, quiet_options(Access::kReadOnly));
  EXPECT_OK(disk);
  std::vector<std::byte> bytes(sample.capacity());
  if (disk) {
    EXPECT_OK((*disk)->read(DiskOffset(), bytes));
  }
  shown.write(0, bytes);
  return shown;
}

// Where the entries of one copy of all tables of an extent are, and where its grains may begin.
struct EntryList {
  std::vector<std::uint64_t> at = {};
  std::uint64_t data_begin = 0;
  std::uint64_t grain_bytes = 0;
};

std::vector<EntryList> entries_of(const SampleDisk::Extent& extent) {
  if (extent.cowd) {
    EntryList list{.data_begin = extent.cowd->directory, .grain_bytes = kSectorSize};
    for (const auto& [table, at] : extent.cowd->tables)
      for (std::uint64_t i = 0; i < extent.cowd->entries_per_table; ++i)
        list.at.push_back(at + i * 4);
    return {list};
  }
  const SparseHeader& header = extent.built.layout.header;
  std::vector<EntryList> lists;
  for (const bool redundant : {false, true}) {
    EntryList list{.data_begin = header.overhead.count() * kSectorSize,
                   .grain_bytes = kSampleGrain};
    for (std::uint64_t grain = 0; grain < header.table_count() * kEntriesPerTable; ++grain)
      list.at.push_back(extent.built.entry_at(grain, redundant));
    lists.push_back(std::move(list));
  }
  return lists;
}

// No copy of a table names a grain that was given away: all grains of these disks have bytes.
std::optional<std::string> judge_names(const MemoryFileSystem& files, const SampleDisk& sample) {
  for (const SampleDisk::Extent& extent : sample.extents) {
    const std::vector<std::byte> content = files.contents(extent.file);
    for (const EntryList& list : entries_of(extent)) {
      for (const std::uint64_t at : list.at) {
        const std::uint64_t grain = std::uint64_t{load_le32(content, at)} * kSectorSize;
        if (grain < list.data_begin)
          continue;
        if (grain + list.grain_bytes > content.size())
          return fmt::format("{}: the entry at {} names byte {}, which was cut off", extent.file,
                             at, grain);
        const auto bytes = std::span(content).subspan(grain, list.grain_bytes);
        if (all_zero(bytes))
          return fmt::format("{}: the entry at {} names byte {}, which is zeros now", extent.file,
                             at, grain);
      }
    }
    if (extent.cowd && load_le32(content, kCowdFreeSectorAt) * kSectorSize > content.size())
      return extent.file + ": its free sector lies behind the end of the file";
  }
  return std::nullopt;
}

class RepairCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override {
    sample_ = build_sample_disk(broken_, GetParam());
    content_ = sample_.content;
  }

  void poke(const std::string& file, std::uint64_t at, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, value);
    broken_.poke(file, at, bytes);
  }

  void set_marks() {
    for (const SampleDisk::Extent& extent : sample_.extents)
      broken_.poke(extent.file, extent.cowd ? kCowdUncleanAt : kUncleanMarkOffset,
                   std::array{std::byte{1}});
  }

  // Grains at the end of each file that nobody names, and one inside the first.
  void leak() {
    for (const SampleDisk::Extent& extent : sample_.extents)
      broken_.poke(extent.file, broken_.size(extent.file), tagged('-', 1, 3 * kSampleGrain));
    if (!sample_.parents.empty())
      return;  // what lies beneath would show
    constexpr std::uint64_t kDropped = 2;
    const SampleDisk::Extent& extent = sample_.extents[0];
    if (extent.cowd)
      for (std::uint64_t i = 0; i < kSampleGrain / kSectorSize; ++i)
        poke(extent.file, extent.cowd->entry_at(kDropped * kSampleGrain / kSectorSize + i), 0);
    else
      for (const bool redundant : {false, true})
        poke(extent.file, extent.built.entry_at(kDropped, redundant), 0);
    content_.zero(kDropped * kSampleGrain, kSampleGrain);
  }

  // What is wrong with a state that a crash of the repair left, or nullopt.
  std::optional<std::string> judge(MemoryFileSystem& state, std::size_t point,
                                   const SectorHistory& history, bool tables) const {
    if (auto wrong = judge_names(state, sample_))
      return wrong;
    const auto again = repaired(state, sample_, tables);
    if (!again)
      return "the second repair: " + again.error().to_text();
    if (again->exit_code() != 0)
      return "the second repair leaves:" + text_of(*again);
    const auto third = repaired(state, sample_, tables);
    if (!third || !third->repairs.empty())
      return "the third repair finds work: " + (third ? text_of(*third) : third.error().to_text());
    return judge_state(state, point, sample_, history, broken_);
  }

  // Repairs broken_, which shows content_ then, and judges every state of every crash point.
  // Returns what is wrong with the first bad one.
  std::optional<std::string> sweep_repair(bool tables = false, const Decorate& decorate = {}) {
    SectorHistory history(content_);
    if (older_.capacity() != 0)
      history.write(0, 0, older_.read(0, older_.capacity()));
    CrashFileSystem files(broken_);
    const auto between = decorate ? decorate(files) : nullptr;
    const auto report =
        repaired(between != nullptr ? *between : static_cast<FileSystem&>(files), sample_, tables);
    EXPECT_OK(report);
    if (!report)
      return "no repair";
    EXPECT_EQ(report->exit_code(), 0) << text_of(*report);
    EXPECT_FALSE(report->repairs.empty());
    std::optional<std::string> first;
    const CrashLimits limits{.exhaustive_pieces = 6, .of_each_family = 8, .random_subsets = 8};
    for (const std::size_t point : files.boundary_points())
      files.for_each_state(point, limits, [&](CrashState& crashed) {
        ++states_;
        if (first)
          return;
        if (const auto wrong = judge(*crashed.file_system, point, history, tables))
          first = crashed.text + "\n" + *wrong;
      });
    return first;
  }

  void expect_safe(bool tables = false) {
    const auto wrong = sweep_repair(tables);
    EXPECT_FALSE(wrong) << *wrong;
    EXPECT_GT(states_, 2U);
  }

  // All of a session that ended in the middle of its commit, in states of which the copies of the
  // tables differ. Leaves them in broken_ and content_, one after the other.
  void for_interrupted(const std::function<void()>& use) {
    const std::unique_ptr<MemoryFileSystem> initial = broken_.clone();
    CrashRun run(*initial, sample_, sample_.content);
    ASSERT_OK(run.run({{"grains on both sides of the border", Kind::kWrite,
                        sample_.border - 3 * kSampleGrain - 512, 6 * kSampleGrain}}));
    std::size_t found = 0;
    const std::size_t most = soak() ? 100 : 4;
    const CrashLimits limits{.exhaustive_pieces = 4, .of_each_family = 2, .random_subsets = 2};
    for (const std::size_t point : run.files().boundary_points())
      run.files().for_each_state(point, limits, [&](CrashState& state) {
        if (!is_interrupted(*state.file_system) || ++found > most)
          return;
        for (const std::string& file : state.file_system->files())
          broken_.put_content(file, state.file_system->content(file));
        content_ = shown_by(*broken_.clone(), sample_);
        use();
      });
    EXPECT_GT(found, 0U);
  }

  bool is_interrupted(FileSystem& files) const {
    CheckOptions options;
    options.open = quiet_options(Access::kReadOnly);
    const auto report = check_image(files, sample_.image, options);
    return report && std::any_of(report->findings.begin(), report->findings.end(),
                                 [](const Finding& finding) {
                                   return finding.text.starts_with("a commit was interrupted");
                                 });
  }

  MemoryFileSystem broken_;
  SampleDisk sample_;
  ReferenceDisk content_{0};
  ReferenceDisk older_{0};  // with a capacity: what it may show as well, sector by sector
  std::size_t states_ = 0;
};

class LeakCrashTest : public RepairCrashTest {};

TEST_P(LeakCrashTest, LeakedSpaceIsGivenBack) {
  set_marks();
  leak();
  expect_safe();
}

INSTANTIATE_TEST_SUITE_P(Kinds, LeakCrashTest,
                         ::testing::Values(SampleKind::kSparse, SampleKind::kWithoutRedundant,
                                           SampleKind::kZeroedGrains, SampleKind::kSplit,
                                           SampleKind::kChild, SampleKind::kCowd,
                                           SampleKind::kCowdChild),
                         [](const auto& kind) { return to_string(kind.param); });

class CopyCrashTest : public RepairCrashTest {
 protected:
  // An entry that cannot be right, in each extent, in place of one that a grain has and of one that
  // has none.
  void damage(bool redundant) {
    for (const SampleDisk::Extent& extent : sample_.extents)
      for (const std::uint64_t grain : {5U, 9U})
        poke(extent.file, extent.built.entry_at(grain, redundant), kImpossible);
  }
};

TEST_P(CopyCrashTest, ADamagedPrimaryCopy) {
  damage(false);
  expect_safe();
}

TEST_P(CopyCrashTest, ADamagedRedundantCopy) {
  damage(true);
  expect_safe();
}

TEST_P(CopyCrashTest, ADamagedPrimaryCopyUnderTheMarkAndLeaks) {
  set_marks();
  damage(false);
  leak();
  expect_safe();
}

TEST_P(CopyCrashTest, ADamagedRedundantCopyUnderTheMarkAndLeaks) {
  set_marks();
  damage(true);
  leak();
  expect_safe();
}

TEST_P(CopyCrashTest, AnInterruptedCommit) {
  for_interrupted([&] { ASSERT_NO_FATAL_FAILURE(expect_safe()); });
}

// Then the redundant copy is taken, unless it lacks what the primary one has already. A crash of
// that leaves less of the damage, and an interrupted commit: where nothing was synced, each sector
// is as one of the copies has it.
TEST_P(CopyCrashTest, AnInterruptedCommitAndADamagedPrimaryCopy) {
  std::size_t mended = 0;
  for_interrupted([&] {
    const SampleDisk::Extent& extent = sample_.extents[0];
    poke(extent.file, extent.built.entry_at(9), kImpossible);
    const std::unique_ptr<MemoryFileSystem> whole = broken_.clone();
    ASSERT_OK_AND_ASSIGN(const CheckReport report, repaired(*whole, sample_, false));
    if (report.exit_code() != 0)
      return;
    ++mended;
    older_ = content_;
    content_ = shown_by(*whole, sample_);
    ASSERT_NO_FATAL_FAILURE(expect_safe());
  });
  EXPECT_GT(mended, 0U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CopyCrashTest,
                         ::testing::Values(SampleKind::kSparse, SampleKind::kZeroedGrains,
                                           SampleKind::kSplit, SampleKind::kChild,
                                           SampleKind::kChildZeroedGrains),
                         [](const auto& kind) { return to_string(kind.param); });

class SparseRepairCrashTest : public RepairCrashTest {
 protected:
  // The syncs of which `is_lost` says so, counted from 1, do nothing.
  static Decorate losing_syncs(const std::function<bool(int number)>& is_lost) {
    return [is_lost](FileSystem& below) {
      auto number = std::make_shared<int>(0);
      return std::make_unique<MeddlingFileSystem>(
          below, Meddling{.sync = [is_lost, number](File& file) {
            return is_lost(++*number) ? Status{} : file.sync();
          }});
    };
  }
};

TEST_P(SparseRepairCrashTest, ALostSectorOfThePrimaryTable) {
  const SampleDisk::Extent& extent = sample_.extents[0];
  broken_.poke(extent.file, extent.built.table_at(0), std::vector<std::byte>(kSectorSize));
  expect_safe(true);
}

// Or the tests above would show nothing.
TEST_P(SparseRepairCrashTest, TheSweepSeesARepairWithoutBarriers) {
  std::size_t seen = 0;
  for_interrupted([&] {
    const auto wrong = sweep_repair(false, losing_syncs([](int) { return true; }));
    seen += wrong ? 1U : 0U;
  });
  EXPECT_GT(seen, 0U);
}

// The tables have to be equal before what the redundant one alone named is given back.
TEST_P(SparseRepairCrashTest, TheSweepSeesSpaceGivenBackTooEarly) {
  std::size_t seen = 0;
  for_interrupted([&] {
    const auto wrong = sweep_repair(false, losing_syncs([](int number) { return number == 1; }));
    seen += wrong && wrong->find("was cut off") != std::string::npos ? 1U : 0U;
  });
  EXPECT_GT(seen, 0U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SparseRepairCrashTest, ::testing::Values(SampleKind::kSparse),
                         [](const auto& kind) { return to_string(kind.param); });

class CowdRepairCrashTest : public SparseRepairCrashTest {
 protected:
  std::uint64_t end() const { return sample_.extents[0].cowd->file_size; }

  void set_free_sector(std::uint64_t bytes) {
    poke(sample_.extents[0].file, kCowdFreeSectorAt,
         static_cast<std::uint32_t>(bytes / kSectorSize));
  }
};

TEST_P(CowdRepairCrashTest, AFreeSectorAmongTheGrains) {
  set_free_sector(end() - 4 * kSectorSize);
  expect_safe();
}

TEST_P(CowdRepairCrashTest, AFreeSectorBehindLeakedSpace) {
  set_marks();
  leak();
  set_free_sector(end() + 3 * kSampleGrain);
  expect_safe();
}

TEST_P(CowdRepairCrashTest, TheSweepSeesAFileThatIsCutBeforeItsFreeSector) {
  set_marks();
  leak();
  set_free_sector(end() + 3 * kSampleGrain);
  const auto wrong = sweep_repair(false, losing_syncs([](int number) { return number == 1; }));
  ASSERT_TRUE(wrong);
  EXPECT_NE(wrong->find("its free sector lies behind the end of the file"), std::string::npos)
      << *wrong;
}

INSTANTIATE_TEST_SUITE_P(Kinds, CowdRepairCrashTest, ::testing::Values(SampleKind::kCowd),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
