#include "support/stream_builder.h"

#include <libdeflate.h>

#include <memory>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "support/file_helpers.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
constexpr std::uint64_t kDescriptorSectors = 2;

class Builder {
 public:
  Builder(File& file, const StreamSpec& spec) : file_(file), spec_(spec) {}

  Result<BuiltStream> run(const std::filesystem::path& path) {
    fill_header();
    RETURN_IF_ERROR(write_descriptor(path));
    RETURN_IF_ERROR(spec_.layout == StreamLayout::kFooter ? write_with_footer() : write_front());
    RETURN_IF_ERROR(file_.resize(end_));
    RETURN_IF_ERROR(file_.sync());
    built_.file_size = end_;
    return built_;
  }

 private:
  void fill_header() {
    SparseHeader& header = built_.header;
    header.version = spec_.version;
    header.flags = sparse_flag::kNewlineBytes | sparse_flag::kCompressed | sparse_flag::kMarkers;
    if (spec_.layout == StreamLayout::kFrontRedundant)
      header.flags |= sparse_flag::kRedundantTables;
    header.compress_algorithm = 1;
    header.capacity = Sectors(spec_.capacity / kSectorSize);
    header.grain_size = Sectors(spec_.grain_size / kSectorSize);
    if (spec_.descriptor) {
      header.descriptor_offset = Sectors(1);
      header.descriptor_size = Sectors(kDescriptorSectors);
    }
    header.overhead = Sectors(1 + kDescriptorSectors);
    end_ = header.overhead.count() * kSectorSize;
  }

  Status write_descriptor(const std::filesystem::path& path) {
    if (!spec_.descriptor)
      return {};
    DescriptorSpec descriptor = *spec_.descriptor;
    descriptor.create_type = "streamOptimized";
    if (descriptor.extent_lines.empty())
      descriptor.extent_lines = {
          extent_line("RW", spec_.capacity, "SPARSE", path.filename().string())};
    const std::string text = descriptor_text(descriptor);
    if (text.size() > kDescriptorSectors * kSectorSize)
      return Error::make(ErrorCode::kInvalidArgument, "the descriptor is longer than its place");
    return write_text(file_, kSectorSize, text);
  }

  Status append(std::span<const std::byte> bytes) {
    RETURN_IF_ERROR(write_bytes(file_, end_, bytes));
    end_ = align_up(end_ + bytes.size(), kSectorSize);
    return {};
  }

  std::uint64_t sector() const { return end_ / kSectorSize; }

  Status write_grain(const StreamGrain& grain) {
    const auto packed = grain.packed ? *grain.packed : zlib_packed(grain.data, grain.level);
    GrainMarker marker{grain.index * (spec_.grain_size / kSectorSize),
                       static_cast<std::uint32_t>(packed.size())};
    if (grain.edit_marker)
      grain.edit_marker(marker);
    built_.records[grain.index] = end_;
    entries_[grain.index] = grain.entry.value_or(static_cast<std::uint32_t>(sector()));
    const auto head = encode_grain_marker(marker);
    std::vector<std::byte> record(head.begin(), head.end());
    record.insert(record.end(), packed.begin(), packed.end());
    return append(record);
  }

  std::vector<std::byte> table_bytes(std::uint64_t table) const {
    std::vector<std::byte> bytes(kGrainTableSize);
    for (const auto& [grain, entry] : entries_)
      if (grain / kEntriesPerTable == table)
        store_le32(bytes, grain % kEntriesPerTable * 4, entry);
    return bytes;
  }

  std::vector<std::byte> directory_bytes(const std::map<std::uint64_t, std::uint64_t>& tables) {
    std::vector<std::byte> bytes(built_.header.directory_sectors() * kSectorSize);
    for (const auto& [table, at] : tables)
      store_le32(bytes, table * 4, static_cast<std::uint32_t>(at / kSectorSize));
    return bytes;
  }

  Status write_header(SparseHeader header) {
    if (spec_.edit_header)
      spec_.edit_header(header);
    return write_bytes(file_, 0, encode_sparse_header(header));
  }

  Status write_with_footer() {
    std::set<std::uint64_t> tables;
    for (const StreamGrain& grain : spec_.grains) {
      RETURN_IF_ERROR(write_grain(grain));
      tables.insert(grain.index / kEntriesPerTable);
    }
    for (const std::uint64_t table : tables) {
      RETURN_IF_ERROR(append(encode_metadata_marker(MarkerType::kGrainTable, kTableSectors)));
      built_.tables[table] = end_;
      RETURN_IF_ERROR(append(table_bytes(table)));
    }
    RETURN_IF_ERROR(append(
        encode_metadata_marker(MarkerType::kGrainDirectory, built_.header.directory_sectors())));
    built_.directory = end_;
    built_.header.gd_offset = Sectors(sector());
    RETURN_IF_ERROR(append(directory_bytes(built_.tables)));
    RETURN_IF_ERROR(write_tail());
    SparseHeader header = built_.header;
    header.gd_offset = Sectors(kDirectoryAtEnd);
    return write_header(header);
  }

  Status write_tail() {
    SparseHeader footer = built_.header;
    if (spec_.edit_footer)
      spec_.edit_footer(footer);
    std::vector<std::byte> tail;
    const auto add = [&](std::span<const std::byte> sector) {
      tail.insert(tail.end(), sector.begin(), sector.end());
    };
    add(encode_metadata_marker(MarkerType::kFooter, 1));
    add(encode_sparse_header(footer));
    add(encode_metadata_marker(MarkerType::kEndOfStream, 0));
    if (spec_.edit_tail)
      spec_.edit_tail(tail);
    return append(tail);
  }

  Status write_front() {
    SparseHeader& header = built_.header;
    const std::uint64_t copy =
        (header.directory_sectors() + header.table_count() * kTableSectors) * kSectorSize;
    const bool twice = spec_.layout == StreamLayout::kFrontRedundant;
    const std::uint64_t redundant = end_;
    const std::uint64_t primary = twice ? redundant + copy : redundant;
    header.gd_offset = Sectors(primary / kSectorSize);
    if (twice)
      header.rgd_offset = Sectors(redundant / kSectorSize);
    end_ = primary + copy;
    header.overhead = Sectors(sector());
    for (const StreamGrain& grain : spec_.grains)
      RETURN_IF_ERROR(write_grain(grain));
    if (twice)
      RETURN_IF_ERROR(write_copy(redundant));
    RETURN_IF_ERROR(write_copy(primary));
    return write_header(header);
  }

  Status write_copy(std::uint64_t directory) {
    built_.directory = directory;
    const std::uint64_t first = directory + built_.header.directory_sectors() * kSectorSize;
    for (std::uint64_t table = 0; table < built_.header.table_count(); ++table) {
      built_.tables[table] = first + table * kGrainTableSize;
      RETURN_IF_ERROR(write_bytes(file_, built_.tables[table], table_bytes(table)));
    }
    return write_bytes(file_, directory, directory_bytes(built_.tables));
  }

  File& file_;
  const StreamSpec& spec_;
  BuiltStream built_;
  std::uint64_t end_ = 0;
  std::map<std::uint64_t, std::uint32_t> entries_;
};

}  // namespace

std::vector<std::byte> zlib_packed(std::span<const std::byte> data, int level) {
  const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
      libdeflate_alloc_compressor(level), &libdeflate_free_compressor);
  std::vector<std::byte> packed(libdeflate_zlib_compress_bound(compressor.get(), data.size()));
  packed.resize(libdeflate_zlib_compress(compressor.get(), data.data(), data.size(), packed.data(),
                                         packed.size()));
  return packed;
}

Result<BuiltStream> build_stream(FileSystem& file_system, const std::filesystem::path& path,
                                 const StreamSpec& spec) {
  ASSIGN_OR_RETURN(auto file, file_system.create(path));
  return Builder(*file, spec).run(path);
}

}  // namespace vmdk::test
