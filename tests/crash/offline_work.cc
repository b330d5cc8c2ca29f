#include "crash/offline_work.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/commit.h>
#include <vmdk/compact.h>
#include <vmdk/rebase.h>
#include <vmdk/resize.h>

#include "crash/oracle.h"
#include "support/crash_file_system.h"
#include "support/matchers.h"
#include "support/other_parent.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

template <typename Options>
Options quiet() {
  Options options;
  options.open = quiet_options();
  return options;
}

template <typename Report>
Status status_of(const Result<Report>& report) {
  return report ? Status{} : Status(report.error());
}

}  // namespace

Status commit_sample(FileSystem& files, const SampleDisk& sample) {
  return status_of(commit_child(files, sample.image, quiet<CommitOptions>()));
}

Status compact_sample(FileSystem& files, const SampleDisk& sample) {
  return status_of(compact_image(files, sample.image, quiet<CompactOptions>()));
}

void wear_out(MemoryFileSystem& files, const SampleDisk& sample) {
  const std::vector<std::byte> unused(16 * kSampleGrain, std::byte{0x5A});
  for (const SampleDisk::Extent& extent : sample.extents)
    if (!extent.flat && !extent.cowd)
      files.poke(extent.file, files.size(extent.file), unused);
}

Status rebase_sample(FileSystem& files, const SampleDisk& sample) {
  return status_of(rebase_image(files, sample.image, other_parent(), quiet<RebaseOptions>()));
}

Status resize_sample(FileSystem& files, const SampleDisk& sample) {
  return resize_image(files, sample.image, sample.capacity() + kGrowth, quiet<ResizeOptions>());
}

ReferenceDisk grown(const SampleDisk& sample, std::uint64_t growth) {
  ReferenceDisk content(sample.capacity() + growth);
  content.write(0, sample.content.read(0, sample.capacity()));
  return content;
}

WorkSweep sweep_work(const MemoryFileSystem& initial,
                     const std::function<Status(FileSystem& files)>& work,
                     const std::function<std::optional<std::string>(MemoryFileSystem&)>& judge,
                     const Decorate& decorate) {
  CrashFileSystem files(initial);
  const auto between = decorate ? decorate(files) : nullptr;
  EXPECT_OK(work(between != nullptr ? *between : static_cast<FileSystem&>(files)));
  WorkSweep sweep;
  const CrashLimits limits =
      soak() ? CrashLimits{}
             : CrashLimits{.exhaustive_pieces = 5, .of_each_family = 6, .random_subsets = 6};
  for (const std::size_t point : files.boundary_points())
    files.for_each_state(point, limits, [&](CrashState& crashed) {
      ++sweep.states;
      if (sweep.wrong)
        return;
      if (const auto wrong = judge(*crashed.file_system))
        sweep.wrong = crashed.text + "\n" + *wrong;
    });
  return sweep;
}

}  // namespace vmdk::test
