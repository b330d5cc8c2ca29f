// Work on sample images that nobody has mounted, for crashes and failing calls in the midst of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "crash/workload.h"
#include "support/memory_file_system.h"
#include "support/reference_disk.h"
#include "support/sample_disk.h"

namespace vmdk::test {

// Each may be run again after it failed.
Status commit_sample(FileSystem& files, const SampleDisk& sample);
Status compact_sample(FileSystem& files, const SampleDisk& sample);
// Before that: puts space that no grain uses behind its hosted extents, so that there is something
// to give back, and none of the old files stays.
void wear_out(MemoryFileSystem& files, const SampleDisk& sample);
// Over other_parent(), which shows something else nearly everywhere.
Status rebase_sample(FileSystem& files, const SampleDisk& sample);

// Bytes that resize_sample() adds: more than its tables have room for.
inline constexpr std::uint64_t kGrowth = 600 * kSampleGrain;

Status resize_sample(FileSystem& files, const SampleDisk& sample);
// What the disk shows when it has so many bytes more.
ReferenceDisk grown(const SampleDisk& sample, std::uint64_t growth);

struct WorkSweep {
  std::size_t states = 0;
  std::optional<std::string> wrong;  // the first thing
};

// Does the work on files that are as in `initial`, which has to succeed, and judges the states that
// a power cut at each crash point would leave: all of the model in a soak, else some of them.
WorkSweep sweep_work(const MemoryFileSystem& initial,
                     const std::function<Status(FileSystem& files)>& work,
                     const std::function<std::optional<std::string>(MemoryFileSystem&)>& judge,
                     const Decorate& decorate = {});

}  // namespace vmdk::test
