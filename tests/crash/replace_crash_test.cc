// Files of an image that get new ones in their place may be met at any moment: the disk shows what
// it showed, or what it is to show, and another run ends it.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "crash/meddling_file_system.h"
#include "crash/offline_work.h"
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
  bool wears_out = false;
};

void PrintTo(const Work& work, std::ostream* out) {
  *out << work.name;
}

Work compacting(SampleKind kind) {
  return {
      .name = "Compact" + to_string(kind), .kind = kind, .run = compact_sample, .wears_out = true};
}

Work resizing(SampleKind kind) {
  return {
      .name = "Resize" + to_string(kind), .kind = kind, .run = resize_sample, .growth = kGrowth};
}

Work rebasing(SampleKind kind) {
  return {.name = "Rebase" + to_string(kind), .kind = kind, .run = rebase_sample};
}

class ReplaceCrashTest : public ::testing::TestWithParam<Work> {
 protected:
  void SetUp() override {
    sample_ = build_sample_disk(initial_, GetParam().kind);
    if (GetParam().wears_out)
      wear_out(initial_, sample_);
    build_other_parent(initial_, sample_.capacity());
    after_ = grown(sample_, GetParam().growth);
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

  WorkSweep sweep(const Decorate& decorate = {}) {
    return sweep_work(
        initial_, [this](FileSystem& files) { return GetParam().run(files, sample_); },
        [this](MemoryFileSystem& state) { return judge(state); }, decorate);
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
  ReferenceDisk after_{0};
};

TEST_P(ReplaceCrashTest, TheDiskIsThereAtEveryMomentAndAnotherRunEndsIt) {
  const WorkSweep swept = sweep();
  EXPECT_FALSE(swept.wrong) << *swept.wrong;
  EXPECT_GT(swept.states, 3U);
}

// Or the test above would show nothing.
TEST_P(ReplaceCrashTest, TheSweepSeesANewFileThatIsNotDurable) {
  const WorkSweep swept = sweep([](FileSystem& below) {
    return std::make_unique<MeddlingFileSystem>(below,
                                                Meddling{.sync = [](File&) { return Status{}; }});
  });
  EXPECT_TRUE(swept.wrong);
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
