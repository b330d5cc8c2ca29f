// Every call below fails once, or from then on, while images are worked on without a mount: what
// they showed is there, nothing is told to have succeeded that did not, and another run ends it.

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "crash/offline_work.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "support/crash_file_system.h"
#include "support/faulty_file_system.h"
#include "support/image_judges.h"
#include "support/matchers.h"
#include "support/other_parent.h"
#include "support/sample_disk.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

struct Job {
  std::string name;
  SampleKind kind = SampleKind::kSparse;
  std::function<Status(FileSystem& files, const SampleDisk& sample)> run;
  bool wears_out = false;
  // What is wrong with the files when a run failed, and when one has succeeded.
  std::function<std::optional<std::string>(FileSystem& files, const SampleDisk& sample)> failed;
  std::function<std::optional<std::string>(FileSystem& files, const SampleDisk& sample)> done;
};

void PrintTo(const Job& job, std::ostream* out) {
  *out << job.name;
}

std::optional<std::string> shows_the_disk(FileSystem& files, const SampleDisk& sample) {
  if (auto wrong = wrong_content(files, sample.image, sample.content))
    return wrong;
  return wrong_check(files, sample.image, 3);
}

Job commit_job(SampleKind kind) {
  return {.name = "Commit" + to_string(kind),
          .kind = kind,
          .run = commit_sample,
          .failed = shows_the_disk,
          .done = [](FileSystem& files, const SampleDisk& sample) -> std::optional<std::string> {
            for (const std::filesystem::path& image :
                 {sample.image, std::filesystem::path(sample.parents.front())}) {
              if (auto wrong = wrong_content(files, image, sample.content))
                return wrong;
              if (auto wrong = wrong_check(files, image))
                return wrong;
            }
            return std::nullopt;
          }};
}

Job compact_job(SampleKind kind) {
  return {.name = "Compact" + to_string(kind),
          .kind = kind,
          .run = compact_sample,
          .wears_out = true,
          .failed = shows_the_disk,
          .done = shows_the_disk};
}

Job rebase_job(SampleKind kind) {
  return {.name = "Rebase" + to_string(kind),
          .kind = kind,
          .run = rebase_sample,
          .failed = shows_the_disk,
          .done = [](FileSystem& files, const SampleDisk& sample) -> std::optional<std::string> {
            if (auto wrong = wrong_content(files, sample.image, sample.content))
              return wrong;
            return wrong_check(files, sample.image);
          }};
}

Job resize_job(SampleKind kind) {
  return {.name = "Resize" + to_string(kind),
          .kind = kind,
          .run = resize_sample,
          // What cannot be taken back may be there although the last sync failed.
          .failed = [](FileSystem& files, const SampleDisk& sample) -> std::optional<std::string> {
            auto wrong = wrong_content(files, sample.image, sample.content);
            return wrong && wrong_content(files, sample.image, grown(sample, kGrowth))
                       ? wrong
                       : std::nullopt;
          },
          .done = [](FileSystem& files, const SampleDisk& sample) -> std::optional<std::string> {
            if (auto wrong = wrong_content(files, sample.image, grown(sample, kGrowth)))
              return wrong;
            return wrong_check(files, sample.image);
          }};
}

struct Trouble {
  std::vector<OpKind> kinds;  // empty: any call
  int err;
  std::uint64_t prefix = 0;
  bool for_ever = false;
};

const std::vector<Trouble>& troubles() {
  static const std::vector<Trouble> all{
      {{}, EIO},
      {{}, EIO, 0, true},
      {{OpKind::kWrite, OpKind::kGrow, OpKind::kResize, OpKind::kCreate, OpKind::kReveal}, ENOSPC},
      {{OpKind::kWrite}, EIO, kSectorSize},
      {{OpKind::kWrite}, EIO, kWholeWrite},
      {{OpKind::kSync, OpKind::kSyncDirectory}, EIO, 0, true},
      {{OpKind::kPunch, OpKind::kGrow, OpKind::kLock}, EOPNOTSUPP, 0, true}};
  return all;
}

class OfflineFaultTest : public testing::TestWithParam<Job> {
 protected:
  // What is wrong after the n-th call failed; sets `struck` when one did.
  std::optional<std::string> run(const Trouble& trouble, std::uint64_t nth, bool& struck) const {
    const Job& job = GetParam();
    MemoryFileSystem initial;
    const SampleDisk sample = build_sample_disk(initial, job.kind);
    if (job.wears_out)
      wear_out(initial, sample);
    build_other_parent(initial, sample.capacity());
    CrashFileSystem files(initial);
    FaultyFileSystem faulty(files);
    faulty.add({.kinds = trouble.kinds,
                .nth = nth,
                .for_ever = trouble.for_ever,
                .err = trouble.err,
                .prefix = trouble.prefix});
    const Status status = job.run(faulty, sample);
    struck = faulty.failed() != 0;
    if (faulty.open_files() != 0)
      return "files stay open";
    if (!status) {
      if (auto wrong = job.failed(files.live(), sample))
        return status.error().to_text() + "\n" + *wrong;
      if (const Status again = job.run(files.live(), sample); !again)
        return "the second run: " + again.error().to_text();
    } else if (auto wrong = after_power_cut(files, sample)) {
      return "success, and a power cut: " + *wrong;
    }
    return job.done(files.live(), sample);
  }

  // What was told to have succeeded is durable.
  std::optional<std::string> after_power_cut(const CrashFileSystem& files,
                                             const SampleDisk& sample) const {
    std::optional<std::string> first;
    files.for_each_state(files.points() - 1,
                         {.exhaustive_pieces = 2, .of_each_family = 2, .random_subsets = 2},
                         [&](CrashState& state) {
                           if (!first)
                             first = GetParam().done(*state.file_system, sample);
                         });
    return first;
  }
};

TEST_P(OfflineFaultTest, NothingIsLostAndAnotherRunEndsIt) {
  std::uint64_t runs = 0;
  for (const Trouble& trouble : troubles()) {
    const std::uint64_t step = soak() ? 1 : trouble.kinds.empty() ? 7 : 2;
    bool struck = true;
    for (std::uint64_t nth = 1; struck; nth += step) {
      const auto wrong = run(trouble, nth, struck);
      ASSERT_FALSE(wrong) << "call " << nth << " with " << trouble.err
                          << (trouble.for_ever ? ", and all later ones" : "") << ": " << *wrong;
      ++runs;
    }
  }
  EXPECT_GT(runs, 20U);
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, OfflineFaultTest,
    testing::Values(commit_job(SampleKind::kChild), commit_job(SampleKind::kChildZeroedGrains),
                    compact_job(SampleKind::kSplit), compact_job(SampleKind::kChildZeroedGrains),
                    rebase_job(SampleKind::kChild), rebase_job(SampleKind::kChildZeroedGrains),
                    resize_job(SampleKind::kSparse), resize_job(SampleKind::kSplit),
                    resize_job(SampleKind::kFlat)),
    [](const auto& job) { return job.param.name; });

}  // namespace
}  // namespace vmdk::test
