// Every call below the engine fails once, or from then on, with every errno that matters, in every
// scenario.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "faults/cases.h"
#include "faults/fault_run.h"
#include "faults/scenario.h"
#include "support/file_helpers.h"
#include "support/image_builder.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

// How a call fails.
struct Trouble {
  const char* name;
  std::vector<OpKind> kinds;  // the calls that are counted
  int err;
  std::uint64_t prefix = 0;  // so much of a write is done all the same
};

const std::vector<OpKind> kAnyCall = {
    OpKind::kOpen,   OpKind::kCreate, OpKind::kRemove, OpKind::kSyncDirectory,
    OpKind::kList,   OpKind::kRead,   OpKind::kWrite,  OpKind::kGrow,
    OpKind::kResize, OpKind::kPunch,  OpKind::kSync,   OpKind::kSize,
    OpKind::kSeek,   OpKind::kLock,   OpKind::kReveal, OpKind::kAllocated};
const std::vector<OpKind> kNeedsSpace = {OpKind::kWrite, OpKind::kGrow, OpKind::kResize,
                                         OpKind::kCreate, OpKind::kReveal};
const std::vector<OpKind> kSyncs = {OpKind::kSync, OpKind::kSyncDirectory};

const std::vector<Trouble> kTroubles = {
    {"any call", kAnyCall, EIO},
    {"no space", kNeedsSpace, ENOSPC},
    {"no quota", kNeedsSpace, EDQUOT},
    {"too long", kNeedsSpace, EFBIG},
    {"no descriptors", {OpKind::kOpen, OpKind::kCreate}, EMFILE},
    {"sync without space", kSyncs, ENOSPC},
    {"sync without quota", kSyncs, EDQUOT},
    {"no such call", {OpKind::kGrow, OpKind::kPunch, OpKind::kLock}, EOPNOTSUPP},
    {"torn write", {OpKind::kWrite}, EIO, kSectorSize},
    {"torn write without space", {OpKind::kWrite}, ENOSPC, kSectorSize},
    {"whole write that fails", {OpKind::kWrite}, EIO, kWholeWrite},
};

// One run of a scenario in which one call, or that and all later ones, fail.
class Ordeal {
 public:
  Ordeal(const Prepared& prepared, const Trouble& trouble, Course course, std::uint64_t nth)
      : prepared_(prepared), trouble_(trouble), course_(course), nth_(nth), run_(prepared) {}

  void go() {
    for (const Step& step : prepared_.scenario.before)
      ASSERT_OK(step.act(run_)) << step.label;
    run_.faults().add({.kinds = trouble_.kinds,
                       .nth = nth_,
                       .for_ever = course_ != Course::kOnce,
                       .err = trouble_.err,
                       .prefix = trouble_.prefix});
    for (const Step& step : prepared_.scenario.steps) {
      SCOPED_TRACE(step.label);
      ASSERT_NO_FATAL_FAILURE(take(step));
    }
    if (!prepared_.scenario.has_timer)
      EXPECT_EQ(accounted_, struck().size()) << "a failure that nobody was told of";
    calls_ = run_.faults().matched();
    failed_ = run_.faults().failed();
    if (course_ == Course::kDropped)
      end_dropped();
    else
      end_closed();
    run_.drop();
    EXPECT_EQ(run_.faults().open_files(), 0U);
    EXPECT_EQ(run_.wrong_answer(), std::nullopt);
  }

  // That the rule counted, and that it made fail.
  std::uint64_t calls() const { return calls_; }

  std::uint64_t failed() const { return failed_; }

 private:
  std::vector<FileOperation> struck() { return run_.faults().struck(); }

  void take(const Step& step) {
    const Status status = step.act(run_);
    const auto all = struck();
    const std::vector<FileOperation> now(all.begin() + static_cast<std::ptrdiff_t>(accounted_),
                                         all.end());
    if (poisoned_ && step.kind != Step::Kind::kLook) {
      EXPECT_THAT(status, FailsWith(trouble_.err)) << "after a failed sync";
      accounted_ = all.size();
      return;
    }
    if (status) {
      account_success(now);
      return;
    }
    accounted_ = all.size();
    ASSERT_FALSE(now.empty()) << "nothing failed below, and yet: " << status.error().to_text();
    EXPECT_THAT(status, FailsWith(trouble_.err));
    note_poison(now);
    if (run_.disk() != nullptr && !reads_fail()) {
      EXPECT_EQ(run_.wrong_content(), std::nullopt);
    }
    if (course_ == Course::kOnce && !poisoned_)
      ASSERT_OK(step.act(run_)) << "tried again";
    else if (step.kind == Step::Kind::kSync && run_.disk() == nullptr)
      close_failed_ = true;
    else
      to_do_.push_back(&step);
  }

  void account_success(const std::vector<FileOperation>& now) {
    for (const FileOperation& operation : now) {
      if (prepared_.scenario.has_timer && !absorbs(operation))
        return;  // a step to come tells
      EXPECT_TRUE(absorbs(operation)) << "nobody was told of: " << to_string(operation);
      ++accounted_;
    }
  }

  // Only a failed sync of a disk that is being written poisons it.
  void note_poison(const std::vector<FileOperation>& now) {
    if (run_.disk() == nullptr)
      return;
    const Status sticky = run_.disk()->sticky_status();
    const bool before = std::exchange(poisoned_, !sticky);
    const bool sync_failed = std::any_of(now.begin(), now.end(), [](const auto& operation) {
      return operation.kind == OpKind::kSync;
    });
    EXPECT_EQ(poisoned_, before || sync_failed);
    if (poisoned_) {
      EXPECT_THAT(sticky, FailsWith(trouble_.err));
    }
  }

  bool reads_fail() const {
    return course_ != Course::kOnce && std::find(trouble_.kinds.begin(), trouble_.kinds.end(),
                                                 OpKind::kRead) != trouble_.kinds.end();
  }

  // Of a table of a link that is only read: it is compared with the primary one, which is shown; a
  // warning tells.
  bool is_copy_that_is_only_compared(const FileOperation& operation) {
    // Where the image builder puts it in a small image.
    constexpr std::uint64_t kRedundantTable = 22 * kSectorSize;
    const Disk* const disk = run_.disk();
    if (disk == nullptr || operation.offset != kRedundantTable)
      return false;
    return !disk->writable() || operation.file != disk->info().layers.front().file;
  }

  // Whether a step may succeed although this call failed.
  bool absorbs(const FileOperation& operation) {
    const auto& also = prepared_.scenario.absorbed;
    if (std::find(also.begin(), also.end(), operation.kind) != also.end())
      return true;
    switch (operation.kind) {
      case OpKind::kPunch:
        // Grains keep their space. A flat disk's zeros are written.
        return trouble_.err == EOPNOTSUPP || prepared_.sample.kind != SampleKind::kFlat;
      case OpKind::kGrow:
      case OpKind::kLock:
        return trouble_.err == EOPNOTSUPP;  // it goes another way, or without
      case OpKind::kRemove:                 // what is told is why it is removed
      case OpKind::kAllocated:              // a figure for people
        return true;
      case OpKind::kRead:
        return is_copy_that_is_only_compared(operation);
      default:
        return false;
    }
  }

  bool removal_failed() {
    const auto all = struck();
    return std::any_of(all.begin(), all.end(),
                       [](const auto& operation) { return operation.kind == OpKind::kRemove; });
  }

  void end_closed() {
    run_.let_calls_succeed();
    if (poisoned_) {
      if (run_.disk() != nullptr)
        EXPECT_THAT(run_.close(), FailsWith(trouble_.err));
      EXPECT_EQ(judge(false), std::nullopt);
      return;
    }
    // What was not flushed is lost with a disk that could not be closed; a file that could not be
    // removed stands in the way.
    if (close_failed_ || removal_failed()) {
      EXPECT_EQ(judge(false), std::nullopt);
      return;
    }
    for (const Step* step : to_do_)
      ASSERT_OK(step->act(run_)) << step->label << " when calls succeed again";
    if (run_.disk() != nullptr) {
      if (run_.disk()->writable())
        EXPECT_EQ(run_.wrong_content(), std::nullopt);
      ASSERT_OK(run_.close());
    }
    EXPECT_EQ(judge(true), std::nullopt);
  }

  void end_dropped() {
    run_.drop();
    run_.faults().clear();
    const bool complete = to_do_.empty() && !poisoned_ && !close_failed_;
    EXPECT_EQ(judge(complete), std::nullopt);
    if (!prepared_.scenario.judge) {
      EXPECT_EQ(run_.wrong_after_power_cut(nth_), std::nullopt);
    }
  }

  std::optional<std::string> judge(bool complete) {
    return prepared_.scenario.judge ? prepared_.scenario.judge(run_, complete) : run_.wrong_image();
  }

  const Prepared& prepared_;
  const Trouble& trouble_;
  const Course course_;
  const std::uint64_t nth_;
  FaultRun run_;
  std::size_t accounted_ = 0;  // calls that failed, and that a step has told or need not tell
  bool poisoned_ = false;
  bool close_failed_ = false;
  std::vector<const Step*> to_do_;
  std::uint64_t calls_ = 0;
  std::uint64_t failed_ = 0;
};

class FaultTest : public ::testing::TestWithParam<Case> {};

TEST_P(FaultTest, AnyCallMayFail) {
  const Prepared prepared(GetParam().scenario);
  std::size_t points = 0;
  std::uint64_t offset = 0;
  for (const Trouble& trouble : kTroubles) {
    Ordeal counting(prepared, trouble, Course::kOnce, 0);
    ASSERT_NO_FATAL_FAILURE(counting.go());
    for (const Course course : kCourses)
      for (std::uint64_t nth = 1 + offset++ % GetParam().every; nth <= counting.calls();
           nth += GetParam().every) {
        SCOPED_TRACE(fmt::format("{}: call {} of {} fails {} with {}", trouble.name, nth,
                                 counting.calls(), to_string(course), std::strerror(trouble.err)));
        Ordeal ordeal(prepared, trouble, course, nth);
        ASSERT_NO_FATAL_FAILURE(ordeal.go());
        ASSERT_FALSE(HasFailure());
        points += ordeal.failed() != 0 ? 1U : 0U;
      }
  }
  EXPECT_GT(points, 0U);
  report_points(points);
}

INSTANTIATE_TEST_SUITE_P(ManyCalls, FaultTest, ::testing::ValuesIn(cases(3, Timers::kWith)),
                         name_of_case);
// With sanitizers, which make it slower.
INSTANTIATE_TEST_SUITE_P(SomeCalls, FaultTest, ::testing::ValuesIn(cases(7, Timers::kWith)),
                         name_of_case);

TEST(ParentFaultTest, GrainOverAnUnreadableParentIsNotPublished) {
  const Prepared prepared({.name = "", .build = [](MemoryFileSystem& files) {
                             return build_sample_disk(files, SampleKind::kChild);
                           }});
  FaultRun run(prepared);
  ASSERT_OK(run.open(quiet_options()));
  const DiskOperation part{"part", DiskOperation::Kind::kWrite, 8 * kSampleGrain + 600, 100};
  run.faults().add({.kinds = {OpKind::kRead},
                    .matches = on_file(run.sample().parents[0]),
                    .for_ever = true,
                    .err = EIO});
  EXPECT_THAT(run.apply(part), FailsWith(EIO));
  run.faults().clear();
  EXPECT_EQ(run.wrong_content(), std::nullopt);
  ASSERT_OK_AND_ASSIGN(const MapRun map, run.disk()->map(DiskOffset(part.at), 1));
  EXPECT_EQ(map.layer, 1U);
  ASSERT_OK(run.apply(part));
  EXPECT_EQ(run.wrong_content(), std::nullopt);
  ASSERT_OK(run.close());
  EXPECT_EQ(run.wrong_image(), std::nullopt);
}

TEST(FlatFaultTest, DiscardSaysThatTheHostCannotAndZeroWritesZeros) {
  MemoryFileSystem files;
  ASSERT_OK(build_flat(files, "/vm/disk.vmdk", {{.length = kMiB, .data = filled(kMiB, 7)}}));
  FaultyFileSystem faults(files);
  ASSERT_OK_AND_ASSIGN(auto disk, Disk::open(faults, "/vm/disk.vmdk", quiet_options()));
  faults.add({.kinds = {OpKind::kPunch}, .for_ever = true, .err = EOPNOTSUPP});
  EXPECT_THAT(disk->discard(DiskOffset(4096), 8192), FailsWith(EOPNOTSUPP));
  std::vector<std::byte> bytes(8192);
  ASSERT_OK(disk->read(DiskOffset(4096), bytes));
  EXPECT_EQ(bytes, filled(8192, 7));
  ASSERT_OK(disk->zero(DiskOffset(4096), 8192));
  ASSERT_OK(disk->read(DiskOffset(4096), bytes));
  EXPECT_EQ(bytes, filled(8192, 0));
  ASSERT_OK(disk->close());
}

}  // namespace
}  // namespace vmdk::test
