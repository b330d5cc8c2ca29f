// A commit of a snapshot may be cut short at any moment: the snapshot shows what it showed, and
// another run ends it.

#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include <vmdk/commit.h>

#include "crash/meddling_file_system.h"
#include "crash/offline_work.h"
#include "crash/workload.h"
#include "support/image_judges.h"
#include "support/matchers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

constexpr char kParent[] = "/vm/parent.vmdk";

class CommitChildCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override {
    sample_ = build_sample_disk(initial_, GetParam());
    content_ = sample_.content;
    if (GetParam() != SampleKind::kCowdChild)
      return;
    auto disk = Disk::open(initial_, sample_.image, quiet_options());
    ASSERT_OK(disk);
    const auto bytes = tagged('w', 1, 3 * kSampleGrain);
    ASSERT_OK((*disk)->write(DiskOffset(kSampleGrain + 512), bytes));
    ASSERT_OK((*disk)->close());
    content_.write(kSampleGrain + 512, bytes);
  }

  Result<CommitReport> commit(FileSystem& files) const {
    CommitOptions options;
    options.open = quiet_options();
    return commit_child(files, sample_.image, options);
  }

  // What is wrong with a state that a crash left.
  std::optional<std::string> judge(MemoryFileSystem& state) const {
    if (auto wrong = wrong_content(state, sample_.image, content_))
      return wrong;
    if (auto wrong = wrong_check(state, sample_.image, 3))
      return wrong;
    const auto again = commit(state);
    if (!again)
      return "the second run: " + again.error().to_text();
    for (const std::filesystem::path& image : {sample_.image, std::filesystem::path(kParent)}) {
      if (auto wrong = wrong_content(state, image, content_))
        return "after the second run: " + *wrong;
      if (auto wrong = wrong_check(state, image))
        return "after the second run: " + *wrong;
    }
    const auto third = commit(state);
    if (!third || third->written != 0)
      return "the third run finds work";
    return std::nullopt;
  }

  WorkSweep sweep(const Decorate& decorate = {}) {
    return sweep_work(
        initial_, [this](FileSystem& files) { return commit_sample(files, sample_); },
        [this](MemoryFileSystem& state) { return judge(state); }, decorate);
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
  ReferenceDisk content_{0};
};

TEST_P(CommitChildCrashTest, TheSnapshotShowsTheDiskAtEveryMomentAndAnotherRunEndsIt) {
  const WorkSweep swept = sweep();
  EXPECT_FALSE(swept.wrong) << *swept.wrong;
  EXPECT_GT(swept.states, 20U);
}

// Or the test above would show nothing: without the announcement's sync the parent may have its new
// content id when the child still names the old one.
TEST_P(CommitChildCrashTest, TheSweepSeesAnAnnouncementThatIsNotDurable) {
  const WorkSweep swept = sweep([this](FileSystem& below) {
    return std::make_unique<MeddlingFileSystem>(below, Meddling{.sync = [this](File& file) {
                                                  return file.name() == sample_.image ? Status{}
                                                                                      : file.sync();
                                                }});
  });
  ASSERT_TRUE(swept.wrong);
  EXPECT_NE(swept.wrong->find("content id"), std::string::npos) << *swept.wrong;
}

INSTANTIATE_TEST_SUITE_P(Kinds, CommitChildCrashTest,
                         ::testing::Values(SampleKind::kChild, SampleKind::kChildZeroedGrains,
                                           SampleKind::kCowdChild),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
