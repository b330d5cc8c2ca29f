// One of the states that a power cut may leave, chosen by chance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "support/crash_file_system.h"
#include "support/memory_file_system.h"

namespace vmdk::test {

struct RandomCrash {
  std::size_t point = 0;
  std::unique_ptr<MemoryFileSystem> files;
  std::string text;  // which pieces arrived
};

// A crash at a point from `earliest` on, half of the time at the present one. `initial` is what
// `files` was made from. The same `seed` makes the same choice.
RandomCrash random_crash(const MemoryFileSystem& initial, const CrashFileSystem& files,
                         std::size_t earliest, std::uint64_t seed);

}  // namespace vmdk::test
