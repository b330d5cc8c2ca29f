// Judges what a power cut left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "crash/workload.h"
#include "support/crash_file_system.h"
#include "support/memory_file_system.h"
#include "support/reference_disk.h"
#include "support/sample_disk.h"

namespace vmdk::test {

// What is wrong with the state that a crash at `point` left, or nullopt: the check finds leaks, an
// interrupted commit or the mark at worst; the image opens for writing; every sector has a value
// that `history` allows; parents are as in `initial`; one more write, flush and close work, and
// then the check finds nothing. The files of the state are used up.
std::optional<std::string> judge_state(MemoryFileSystem& state, std::size_t point,
                                       const SampleDisk& sample, const SectorHistory& history,
                                       const MemoryFileSystem& initial);

// What the disk of a state shows. An image that cannot be read fails the test.
ReferenceDisk content_of(const MemoryFileSystem& state, const SampleDisk& sample);

// The check's findings of a state without their numbers and files, its exit status first: states
// with the same text are alike.
std::string findings_of(const MemoryFileSystem& state, const SampleDisk& sample);

// Tells the parts of a sample's files that name grains from those that hold them, for
// CrashLimits::is_metadata. Tables that a run adds count as data.
std::function<bool(const std::string& file, std::uint64_t offset)> metadata_of(
    const SampleDisk& sample);

// Which states of a run are judged.
struct SweepPlan {
  CrashLimits limits = {};
  // Crash points before this one are left out: another run has judged them.
  std::size_t from = 0;
  // At most so many points, chosen by the limits' seed.
  std::size_t points = std::numeric_limits<std::size_t>::max();
};

struct Sweep {
  std::size_t points = 0;
  std::size_t states = 0;
  std::size_t after_flush = 0;  // of them: states after a flush had returned
  std::size_t again = 0;  // states of a second crash, while the first was being recovered from
  std::optional<std::string> violation;
};

// Judges states of the crash points of a run, until one is bad. After one more write and flush some
// states are closed as judge_state() does it; others crash again, right after that flush or at some
// moment before it, and what that leaves is judged too: one in four, in a soak three.
Sweep sweep_points(const CrashRun& run, const SweepPlan& plan, const MemoryFileSystem& initial);
// All points.
Sweep sweep(const CrashRun& run, const CrashLimits& limits, const MemoryFileSystem& initial);

// Repairs a state that a crash left, which must succeed and leave nothing to find, and judges what
// crashes during the repair leave: as it is, and after another repair.
Sweep sweep_repair(const MemoryFileSystem& state, const SampleDisk& sample,
                   const CrashLimits& limits, const MemoryFileSystem& initial);

}  // namespace vmdk::test
