// Builds the extents of ESX snapshots byte by byte from docs/format.md, with nothing of the engine:
// COWD (vmfsSparse, and the Workstation 3 dialect) and SESparse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/units.h>

#include "support/image_builder.h"

namespace vmdk::test {

// One grain; data is put behind what the file has, in the order of the specs.
struct EsxGrain {
  std::uint64_t index = 0;           // in the extent
  std::vector<std::byte> data = {};  // empty: none; shorter than a grain: zeros follow
  // What the entry says in place of where the data is.
  std::optional<std::uint64_t> entry = std::nullopt;
  // SESparse: the number of the grain in the file; else the next.
  std::optional<std::uint64_t> number = std::nullopt;
};

struct CowdSpec {
  std::uint64_t capacity = 0;      // bytes
  std::uint32_t grain_size = 512;  // bytes
  std::uint32_t version = 1;       // 3: Workstation 3
  std::vector<EsxGrain> grains = {};
  std::vector<std::uint64_t> empty_tables = {};  // there, without an entry
  // Lies.
  std::function<void(std::span<std::byte>)> edit_header = {};
};

// Where things are; offsets in bytes of the file.
struct BuiltCowd {
  std::uint64_t entries_per_table = 4096;
  std::uint64_t directory = 0;
  std::map<std::uint64_t, std::uint64_t> tables;
  std::map<std::uint64_t, std::uint64_t> data;  // by grain
  std::uint64_t file_size = 0;                  // where the free sector is, too

  std::uint64_t directory_entry_at(std::uint64_t table) const { return directory + table * 4; }

  std::uint64_t entry_at(std::uint64_t grain) const {
    return tables.at(grain / entries_per_table) + grain % entries_per_table * 4;
  }
};

// Fields of the header, in bytes.
inline constexpr std::uint64_t kCowdFlagsAt = 8;
inline constexpr std::uint64_t kCowdCapacityAt = 12;
inline constexpr std::uint64_t kCowdGrainSizeAt = 16;
inline constexpr std::uint64_t kCowdDirectoryAt = 20;
inline constexpr std::uint64_t kCowdDirectoryEntriesAt = 24;
inline constexpr std::uint64_t kCowdFreeSectorAt = 28;
inline constexpr std::uint64_t kCowdUncleanAt = 1648;

// Creates the file, which must not exist.
Result<BuiltCowd> build_cowd(FileSystem& file_system, const std::filesystem::path& path,
                             const CowdSpec& spec);
// A descriptor beside its extent: disk.vmdk and disk-delta.vmdk. Without extent lines it gets one.
Result<BuiltCowd> build_cowd_disk(FileSystem& file_system, const std::filesystem::path& path,
                                  const CowdSpec& spec, DescriptorSpec descriptor = {});

struct SeSparseSpec {
  std::uint64_t capacity = 0;           // bytes
  std::uint64_t grain_size = 4 * kKiB;  // bytes
  std::vector<EsxGrain> grains = {};
  std::uint64_t replay_journal = 0;
  std::uint64_t directory_sectors = 0;  // 0: as few as the capacity needs
  // Lies.
  std::function<void(std::span<std::byte>)> edit_header = {};
  std::function<void(std::span<std::byte>)> edit_volatile_header = {};
};

// Entries of SESparse tables that name no grain.
inline constexpr std::uint64_t kSeUnmappedEntry = 0x1000000000000000;
inline constexpr std::uint64_t kSeZeroEntry = 0x2000000000000000;

struct BuiltSeSparse {
  std::uint64_t volatile_header = 0;
  std::uint64_t directory = 0;
  std::map<std::uint64_t, std::uint64_t> tables;  // only those that exist
  std::map<std::uint64_t, std::uint64_t> data;    // by grain
  std::uint64_t grains = 0;                       // number 0
  std::uint64_t file_size = 0;

  std::uint64_t directory_entry_at(std::uint64_t table) const { return directory + table * 8; }

  std::uint64_t entry_at(std::uint64_t grain) const {
    return tables.at(grain / 4096) + grain % 4096 * 8;
  }
};

Result<BuiltSeSparse> build_sesparse(FileSystem& file_system, const std::filesystem::path& path,
                                     const SeSparseSpec& spec);
// disk.vmdk and disk-sesparse.vmdk.
Result<BuiltSeSparse> build_sesparse_disk(FileSystem& file_system,
                                          const std::filesystem::path& path,
                                          const SeSparseSpec& spec, DescriptorSpec descriptor = {});

}  // namespace vmdk::test
