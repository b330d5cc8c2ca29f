// Threads that write, read, discard and flush one disk at once, and content that shows mistakes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <vmdk/disk.h>

namespace vmdk::test {

// A sector filled with its own number and the version that somebody gave it (> 0).
void mark_sector(std::span<std::byte> sector, std::uint64_t number, std::uint64_t version);
std::vector<std::byte> marked(std::uint64_t first_sector, std::size_t sectors,
                              std::uint64_t version);

// The version in a sector, 0 for one of zeros; nullopt: torn, or of another place.
std::optional<std::uint64_t> version_of(std::span<const std::byte> sector, std::uint64_t number);

// The first sector that is not zeros and not its own; nullopt: none. `at` in bytes, both in
// sectors.
std::optional<std::string> foreign_sector(std::span<const std::byte> bytes, std::uint64_t at);

// What the threads of one storm do. Sector s of the kept part belongs to writer s % writers; nobody
// discards there, so each writer knows what its sectors must show in the end.
struct StormPlan {
  unsigned writers = 3;
  unsigned readers = 2;
  unsigned flushers = 2;
  unsigned discarders = 1;
  std::uint64_t kept = 0;      // bytes from the start of the disk
  std::uint64_t hot = 0;       // bytes from the start of each part that get half of the requests
  unsigned operations = 2000;  // of each writer and discarder
  std::uint32_t seed = 1;
};

// Runs until the writers are done. Returns the first thing that went wrong.
std::optional<std::string> storm(Disk& disk, const StormPlan& plan,
                                 std::vector<std::uint64_t>& kept_versions);

}  // namespace vmdk::test
