// Judges what a power cut left.
#pragma once

#include <cstddef>
#include <cstdint>
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

struct Sweep {
  std::size_t states = 0;
  std::size_t interrupted = 0;  // states in which the copies of the tables differed
  std::optional<std::string> violation;
};

// Judges the states of all crash points of a run, until one is bad. `stride`: of the states of a
// point every so-manieth, and the first.
Sweep sweep(const CrashRun& run, const CrashLimits& limits, const MemoryFileSystem& initial,
            std::size_t stride = 1);

}  // namespace vmdk::test
