// Files of an image that get new ones in their place may be met at any moment: the disk shows what
// it showed, or what it is to show, and another run ends it.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/compact.h>
#include <vmdk/rebase.h>
#include <vmdk/resize.h>

#include "crash/meddling_file_system.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "support/image_judges.h"
#include "support/matchers.h"
#include "support/other_parent.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

// Work that gives an image new files.
struct Work {
  std::string name;
  SampleKind kind = SampleKind::kSparse;
  std::function<Status(FileSystem& files, const SampleDisk& sample)> run;
  std::uint64_t growth = 0;  // bytes that the disk has more afterwards
};

void PrintTo(const Work& work, std::ostream* out) {
  *out << work.name;
}

Work compacting(SampleKind kind) {
  return {.name = "Compact" + to_string(kind),
          .kind = kind,
          .run = [](FileSystem& files, const SampleDisk& sample) -> Status {
            CompactOptions options;
            options.open = quiet_options();
            const auto report = compact_image(files, sample.image, options);
            return report ? Status{} : Status(report.error());
          }};
}

constexpr std::uint64_t kGrowth = 600 * kSampleGrain;  // more than its tables have room for

Work resizing(SampleKind kind) {
  return {.name = "Resize" + to_string(kind),
          .kind = kind,
          .run = [](FileSystem& files, const SampleDisk& sample) -> Status {
            ResizeOptions options;
            options.open = quiet_options();
            return resize_image(files, sample.image, sample.capacity() + kGrowth, options);
          },
          .growth = kGrowth};
}

// Over an image that shows something else nearly everywhere.
Work rebasing(SampleKind kind) {
  return {.name = "Rebase" + to_string(kind),
          .kind = kind,
          .run = [](FileSystem& files, const SampleDisk& sample) -> Status {
            RebaseOptions options;
            options.open = quiet_options();
            const auto report = rebase_image(files, sample.image, other_parent(), options);
            return report ? Status{} : Status(report.error());
          }};
}

class ReplaceCrashTest : public ::testing::TestWithParam<Work> {
 protected:
  void SetUp() override {
    sample_ = build_sample_disk(initial_, GetParam().kind);
    build_other_parent(initial_, sample_.capacity());
    after_ = ReferenceDisk(sample_.capacity() + GetParam().growth);
    after_.write(0, sample_.content.read(0, sample_.capacity()));
  }

  std::optional<std::string> judge(MemoryFileSystem& state) const {
    const auto not_as_before = wrong_content(state, sample_.image, sample_.content);
    if (const auto wrong = wrong_content(state, sample_.image, after_); wrong && not_as_before)
      return *not_as_before + "\nnor " + *wrong;
    if (auto wrong = wrong_check(state, sample_.image, 3))
      return wrong;
    if (const Status again = GetParam().run(state, sample_); !again)
      return "the second run: " + again.error().to_text();
    if (auto wrong = wrong_content(state, sample_.image, after_))
      return "after the second run: " + *wrong;
    return wrong_check(state, sample_.image);
  }

  std::optional<std::string> sweep_work(const Decorate& decorate = {}) {
    CrashFileSystem files(initial_);
    const auto between = decorate ? decorate(files) : nullptr;
    EXPECT_OK(
        GetParam().run(between != nullptr ? *between : static_cast<FileSystem&>(files), sample_));
    std::optional<std::string> first;
    const CrashLimits limits =
        soak() ? CrashLimits{}
               : CrashLimits{.exhaustive_pieces = 5, .of_each_family = 6, .random_subsets = 6};
    for (const std::size_t point : files.boundary_points())
      files.for_each_state(point, limits, [&](CrashState& crashed) {
        ++states_;
        if (first)
          return;
        if (const auto wrong = judge(*crashed.file_system))
          first = crashed.text + "\n" + *wrong;
      });
    return first;
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
  ReferenceDisk after_{0};
  std::size_t states_ = 0;
};

TEST_P(ReplaceCrashTest, TheDiskIsThereAtEveryMomentAndAnotherRunEndsIt) {
  const auto wrong = sweep_work();
  EXPECT_FALSE(wrong) << *wrong;
  EXPECT_GT(states_, 3U);
}

// Or the test above would show nothing.
TEST_P(ReplaceCrashTest, TheSweepSeesANewFileThatIsNotDurable) {
  const auto wrong = sweep_work([](FileSystem& below) {
    return std::make_unique<MeddlingFileSystem>(below,
                                                Meddling{.sync = [](File&) { return Status{}; }});
  });
  EXPECT_TRUE(wrong);
}

INSTANTIATE_TEST_SUITE_P(
    Works, ReplaceCrashTest,
    ::testing::Values(compacting(SampleKind::kSparse), compacting(SampleKind::kZeroedGrains),
                      compacting(SampleKind::kSplit), compacting(SampleKind::kChild),
                      compacting(SampleKind::kChildZeroedGrains), resizing(SampleKind::kSparse),
                      resizing(SampleKind::kZeroedGrains), resizing(SampleKind::kSplit),
                      resizing(SampleKind::kFlat), rebasing(SampleKind::kChild),
                      rebasing(SampleKind::kChildZeroedGrains)),
    [](const auto& work) { return work.param.name; });

}  // namespace
}  // namespace vmdk::test
