#include "support/esx_builder.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "support/file_helpers.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kCowdHeaderBytes = 2048;

// The end of every builder: the file gets its length, and is durable.
template <class Built>
Result<Built> finish(File& file, Built built, std::uint64_t end) {
  RETURN_IF_ERROR(file.resize(end));
  RETURN_IF_ERROR(file.sync());
  built.file_size = end;
  return built;
}

class CowdBuilder {
 public:
  CowdBuilder(File& file, const CowdSpec& spec) : file_(file), spec_(spec) {
    built_.entries_per_table = spec.version == 3 ? 512 : 4096;
    built_.directory = kCowdHeaderBytes;
    end_ = built_.directory + align_up(table_count() * 4, kSectorSize);
  }

  Result<BuiltCowd> run() {
    for (const EsxGrain& grain : spec_.grains)
      RETURN_IF_ERROR(write_grain(grain));
    for (const std::uint64_t table : spec_.empty_tables)
      RETURN_IF_ERROR(make_table(table));
    RETURN_IF_ERROR(write_header());
    return finish(file_, built_, end_);
  }

 private:
  std::uint64_t table_count() const {
    return ceil_div(spec_.capacity, spec_.grain_size * built_.entries_per_table);
  }

  Status write_number(std::uint64_t at, std::uint64_t number) {
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, static_cast<std::uint32_t>(number));
    return write_bytes(file_, at, bytes);
  }

  Status make_table(std::uint64_t table) {
    if (!built_.tables.try_emplace(table, end_).second)
      return {};
    RETURN_IF_ERROR(write_number(built_.directory_entry_at(table), end_ / kSectorSize));
    end_ += built_.entries_per_table * 4;
    return {};
  }

  Status write_grain(const EsxGrain& grain) {
    RETURN_IF_ERROR(make_table(grain.index / built_.entries_per_table));
    std::uint64_t entry = end_ / kSectorSize;
    if (!grain.data.empty()) {
      RETURN_IF_ERROR(write_bytes(file_, end_, grain.data));
      built_.data[grain.index] = end_;
      end_ += spec_.grain_size;
    }
    entry = grain.entry.value_or(entry);
    return write_number(built_.entry_at(grain.index), entry);
  }

  Status write_header() {
    std::vector<std::byte> bytes(kCowdHeaderBytes);
    const auto put = [&](std::uint64_t at, std::uint64_t value) {
      store_le32(bytes, at, static_cast<std::uint32_t>(value));
    };
    put(0, 0x44574F43);
    put(4, spec_.version);
    put(kCowdFlagsAt, spec_.version == 3 ? 0x1B : 3);
    put(kCowdCapacityAt, spec_.capacity / kSectorSize);
    put(kCowdGrainSizeAt, spec_.grain_size / kSectorSize);
    put(kCowdDirectoryAt, built_.directory / kSectorSize);
    put(kCowdDirectoryEntriesAt, table_count());
    put(kCowdFreeSectorAt, end_ / kSectorSize);
    if (spec_.edit_header)
      spec_.edit_header(bytes);
    return write_bytes(file_, 0, bytes);
  }

  File& file_;
  const CowdSpec& spec_;
  BuiltCowd built_;
  std::uint64_t end_ = 0;
};

class SeSparseBuilder {
 public:
  SeSparseBuilder(File& file, const SeSparseSpec& spec) : file_(file), spec_(spec) {}

  Result<BuiltSeSparse> run() {
    lay_out();
    for (const EsxGrain& grain : spec_.grains)
      RETURN_IF_ERROR(write_grain(grain));
    RETURN_IF_ERROR(write_volatile_header());
    RETURN_IF_ERROR(write_header());
    return finish(file_, built_, end_);
  }

 private:
  static constexpr std::uint64_t kTableBytes = 4096 * 8;
  static constexpr std::uint64_t kRegionAlign = 4 * kKiB;

  struct Region {
    std::uint64_t begin = 0;  // bytes
    std::uint64_t length = 0;
  };

  // In the order of the header.
  enum { kVolatile, kJournalHeader, kJournal, kDirectory, kTables, kFree, kBack, kGrains, kCount };

  std::uint64_t table_count() const { return ceil_div(spec_.capacity, spec_.grain_size * 4096); }

  void lay_out() {
    std::uint64_t at = kRegionAlign;
    const std::uint64_t directory = spec_.directory_sectors != 0
                                        ? spec_.directory_sectors * kSectorSize
                                        : align_up(table_count() * 8, kSectorSize);
    const std::uint64_t grains = align_up(spec_.capacity, spec_.grain_size);
    const std::array<std::uint64_t, kCount> lengths = {
        kSectorSize, kKiB, 64 * kKiB, directory, table_count() * kTableBytes, kKiB, kKiB, grains};
    for (std::size_t i = 0; i < kCount; ++i) {
      regions_[i] = {at, lengths[i]};
      at = align_up(at + lengths[i], kRegionAlign);
    }
    built_.volatile_header = regions_[kVolatile].begin;
    built_.directory = regions_[kDirectory].begin;
    built_.grains = regions_[kGrains].begin;
    end_ = built_.grains;
  }

  Status write_number(std::uint64_t at, std::uint64_t number) {
    std::array<std::byte, 8> bytes{};
    store_le64(bytes, 0, number);
    return write_bytes(file_, at, bytes);
  }

  // Tables take their places in the order in which they are needed.
  Status make_table(std::uint64_t table) {
    const std::uint64_t number = built_.tables.size();
    const std::uint64_t at = regions_[kTables].begin + number * kTableBytes;
    if (!built_.tables.try_emplace(table, at).second)
      return {};
    return write_number(built_.directory_entry_at(table), 0x1000000000000000 | number);
  }

  Status write_grain(const EsxGrain& grain) {
    RETURN_IF_ERROR(make_table(grain.index / 4096));
    std::uint64_t entry = 0;
    if (!grain.data.empty()) {
      const std::uint64_t number = grain.number.value_or(next_number_);
      next_number_ = number + 1;
      const std::uint64_t at = built_.grains + number * spec_.grain_size;
      RETURN_IF_ERROR(write_bytes(file_, at, grain.data));
      built_.data[grain.index] = at;
      end_ = std::max(end_, at + spec_.grain_size);
      entry = (std::uint64_t{3} << 60U) | ((number % 4096) << 48U) | (number / 4096);
    }
    return write_number(built_.entry_at(grain.index), grain.entry.value_or(entry));
  }

  Status write_volatile_header() {
    std::vector<std::byte> bytes(kSectorSize);
    store_le64(bytes, 0, 0xCAFECAFE);
    store_le64(bytes, 8, built_.tables.size());
    store_le64(bytes, 16, 7);
    store_le64(bytes, 24, spec_.replay_journal);
    if (spec_.edit_volatile_header)
      spec_.edit_volatile_header(bytes);
    return write_bytes(file_, built_.volatile_header, bytes);
  }

  Status write_header() {
    std::vector<std::byte> bytes(kSectorSize);
    store_le64(bytes, 0, 0xCAFEBABE);
    store_le64(bytes, 8, 0x0000000200000001);
    store_le64(bytes, 16, spec_.capacity / kSectorSize);
    store_le64(bytes, 24, spec_.grain_size / kSectorSize);
    store_le64(bytes, 32, kTableBytes / kSectorSize);
    for (std::size_t i = 0; i < kCount; ++i) {
      store_le64(bytes, 80 + i * 16, regions_[i].begin / kSectorSize);
      store_le64(bytes, 88 + i * 16, regions_[i].length / kSectorSize);
    }
    if (spec_.edit_header)
      spec_.edit_header(bytes);
    return write_bytes(file_, 0, bytes);
  }

  File& file_;
  const SeSparseSpec& spec_;
  BuiltSeSparse built_;
  std::array<Region, kCount> regions_;
  std::uint64_t next_number_ = 0;
  std::uint64_t end_ = 0;
};

template <class Builder, class Spec>
auto build_extent(FileSystem& file_system, const std::filesystem::path& path, const Spec& spec)
    -> decltype(std::declval<Builder>().run()) {
  ASSIGN_OR_RETURN(auto file, file_system.create(path));
  return Builder(*file, spec).run();
}

// disk-delta.vmdk beside disk.vmdk, and the descriptor that names it.
Result<std::filesystem::path> add_descriptor(FileSystem& file_system,
                                             const std::filesystem::path& path,
                                             DescriptorSpec descriptor,
                                             std::string_view create_type, std::string_view type,
                                             std::string_view ending, std::uint64_t capacity) {
  const std::string name = fmt::format("{}-{}.vmdk", path.stem().string(), ending);
  descriptor.create_type = create_type;
  if (descriptor.extent_lines.empty())
    descriptor.extent_lines = {extent_line("RW", capacity, type, name)};
  RETURN_IF_ERROR(build_descriptor(file_system, path, descriptor));
  return path.parent_path() / name;
}

}  // namespace

Result<BuiltCowd> build_cowd(FileSystem& file_system, const std::filesystem::path& path,
                             const CowdSpec& spec) {
  return build_extent<CowdBuilder>(file_system, path, spec);
}

Result<BuiltCowd> build_cowd_disk(FileSystem& file_system, const std::filesystem::path& path,
                                  const CowdSpec& spec, DescriptorSpec descriptor) {
  ASSIGN_OR_RETURN(const auto extent,
                   add_descriptor(file_system, path, std::move(descriptor), "vmfsSparse",
                                  "VMFSSPARSE", "delta", spec.capacity));
  return build_cowd(file_system, extent, spec);
}

Result<BuiltSeSparse> build_sesparse(FileSystem& file_system, const std::filesystem::path& path,
                                     const SeSparseSpec& spec) {
  return build_extent<SeSparseBuilder>(file_system, path, spec);
}

Result<BuiltSeSparse> build_sesparse_disk(FileSystem& file_system,
                                          const std::filesystem::path& path,
                                          const SeSparseSpec& spec, DescriptorSpec descriptor) {
  ASSIGN_OR_RETURN(const auto extent,
                   add_descriptor(file_system, path, std::move(descriptor), "seSparse", "SESPARSE",
                                  "sesparse", spec.capacity));
  return build_sesparse(file_system, extent, spec);
}

}  // namespace vmdk::test
