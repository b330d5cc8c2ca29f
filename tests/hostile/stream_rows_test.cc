// Compressed extents: header, footer, markers, records.
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "row.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kCapacity = 2 * kMiB;
constexpr std::uint64_t kGrainSectors = kHostileGrain / kSectorSize;

using SpecEdit = std::function<void(StreamSpec&)>;
using FileEdit = std::function<void(MemoryFileSystem&, const BuiltStream&)>;

std::function<void(MemoryFileSystem&)> stream(SpecEdit edit, FileEdit after = {}) {
  return [edit = std::move(edit), after = std::move(after)](MemoryFileSystem& files) {
    StreamSpec spec;
    spec.capacity = kCapacity;
    for (const std::uint64_t index : {0U, 3U})
      spec.grains.push_back(
          {.index = index, .data = filled(kHostileGrain, 'a' + static_cast<unsigned>(index))});
    if (edit)
      edit(spec);
    const auto built = build_stream(files, kImage, spec);
    EXPECT_OK(built);
    if (built && after)
      after(files, *built);
  };
}

// For writing every stream is refused by its nature, before anything else of it is looked at.
constexpr const char* kByNature = "streamOptimized images are read-only by nature";

// Grain 0 cannot be read, grain 3 can.
Row record(std::string name, std::function<void(StreamGrain&)> edit, std::string read_error) {
  return {.name = std::move(name),
          .make = stream([edit = std::move(edit)](StreamSpec& spec) { edit(spec.grains[0]); }),
          .answer = Answer::kUnreadable,
          .cause = kByNature,
          .read_error = std::move(read_error)};
}

Row marker(std::string name, std::function<void(GrainMarker&)> edit, std::string read_error) {
  return record(
      std::move(name), [edit = std::move(edit)](StreamGrain& grain) { grain.edit_marker = edit; },
      std::move(read_error));
}

std::vector<std::byte> packed_of(std::size_t length) {
  return zlib_packed(filled(length, 'p'));
}

const std::vector<Row>& record_rows() {
  static const std::vector<Row> rows = {
      marker(
          "B20_size_0", [](GrainMarker& marker) { marker.size = 0; }, "it says 0 compressed bytes"),
      marker(
          "B20_size_highest", [](GrainMarker& marker) { marker.size = UINT32_MAX; },
          "4294967295 compressed bytes, more than two grains"),
      marker(
          "size_above_two_grains", [](GrainMarker& marker) { marker.size = 2 * kHostileGrain + 1; },
          "131073 compressed bytes, more than two grains"),
      marker(
          "B20_another_grains_number", [](GrainMarker& marker) { marker.lba = kGrainSectors; },
          "sector 128"),
      marker(
          "B20_a_number_behind_the_disk", [](GrainMarker& marker) { marker.lba = UINT64_MAX; },
          "18446744073709551615"),
      record(
          "B21_garbage",
          [](StreamGrain& grain) {
            grain.data.clear();
            grain.packed = filled(1000, 0xA5);
          },
          "its compressed data is damaged"),
      record(
          "B21_damaged_within",
          [](StreamGrain& grain) {
            for (std::size_t i = 0; i < grain.data.size(); ++i)
              grain.data[i] = static_cast<std::byte>(i * i / 7);
            grain.packed = zlib_packed(grain.data);
            (*grain.packed)[grain.packed->size() / 2] ^= std::byte{0x10};
          },
          "its compressed data is damaged"),
      record(
          "B21_more_than_a_grain",
          [](StreamGrain& grain) { grain.packed = packed_of(kHostileGrain + 1); }, "grain 0"),
      record(
          "B21_a_bomb", [](StreamGrain& grain) { grain.packed = packed_of(8 * kMiB); }, "grain 0"),
      record(
          "B21_less_than_a_grain",
          [](StreamGrain& grain) { grain.packed = packed_of(kHostileGrain - 1); }, "grain 0"),
      record(
          "B21_cut",
          [](StreamGrain& grain) {
            grain.packed = zlib_packed(grain.data);
            grain.packed->resize(grain.packed->size() - 5);
          },
          "its compressed data is damaged"),
      {.name = "more_bytes_than_the_stream_needs",
       .make = stream([](StreamSpec& spec) {
         spec.grains[0].packed = zlib_packed(spec.grains[0].data);
         spec.grains[0].packed->resize(spec.grains[0].packed->size() + 100, std::byte{7});
       }),
       .answer = Answer::kReadOnly,
       .cause = kByNature},
      record(
          "entry_behind_the_end", [](StreamGrain& grain) { grain.entry = 1U << 24U; }, "grain"),
      record(
          "entry_into_the_header", [](StreamGrain& grain) { grain.entry = 1; }, "grain"),
      record(
          "B20_a_marker_of_a_table",
          [](StreamGrain& grain) {
            grain.edit_marker = [](GrainMarker& marker) { marker = {1, 0}; };
          },
          "grain 0"),
  };
  return rows;
}

Row refused(std::string name, std::function<void(MemoryFileSystem&)> make, std::string cause) {
  return {.name = std::move(name),
          .make = std::move(make),
          .cause = std::move(cause),
          .write_cause = kByNature};
}

Row footer(std::string name, SpecEdit edit, std::string cause) {
  return refused(std::move(name), stream(std::move(edit)), std::move(cause));
}

SpecEdit tail(std::size_t at, std::uint32_t value) {
  return [=](StreamSpec& spec) {
    spec.edit_tail = [=](std::span<std::byte> bytes) { store_le32(bytes, at, value); };
  };
}

SpecEdit footer_says(std::function<void(SparseHeader&)> edit) {
  return [edit = std::move(edit)](StreamSpec& spec) { spec.edit_footer = edit; };
}

constexpr std::size_t kFooterTypeAt = 12;
constexpr std::size_t kFooterAt = kSectorSize;
constexpr std::size_t kEndSizeAt = 2 * kSectorSize + 8;
constexpr std::size_t kEndTypeAt = 2 * kSectorSize + 12;

const std::vector<Row>& footer_rows() {
  static const std::vector<Row> rows = {
      footer("B19_footer_marker_of_another_type", tail(kFooterTypeAt, 2),
             "where the footer marker should be"),
      footer("B19_footer_of_another_magic", tail(kFooterAt, 0x58444D4B), "is not KDMV"),
      footer("end_of_stream_with_a_size", tail(kEndSizeAt, 7),
             "where the end-of-stream marker should be"),
      footer("end_of_stream_of_another_type", tail(kEndTypeAt, 3),
             "where the end-of-stream marker should be"),
      footer("B19_another_capacity", footer_says([](SparseHeader& header) {
               header.capacity = Sectors(header.capacity.count() + 1);
             }),
             "capacity 4097, the header says 4096"),
      footer("another_grain_size",
             footer_says([](SparseHeader& header) { header.grain_size = Sectors(64); }),
             "grainSize 64, the header says 128"),
      footer("another_version", footer_says([](SparseHeader& header) { header.version = 1; }),
             "version 1, the header says 3"),
      footer("other_flags",
             footer_says([](SparseHeader& header) { header.flags |= sparse_flag::kZeroedGrains; }),
             "the header says"),
      footer("footer_without_a_directory",
             footer_says([](SparseHeader& header) { header.gd_offset = Sectors(kDirectoryAtEnd); }),
             "gdOffset is again that of a directory named by a footer"),
      footer("directory_behind_the_end",
             footer_says([](SparseHeader& header) { header.gd_offset = Sectors(1U << 24U); }),
             "gdOffset 16777216: its 1 sectors end behind"),
      refused("B19_footer_missing",
              stream({},
                     [](MemoryFileSystem& files, const BuiltStream& built) {
                       files.truncate(kImage, built.file_size - kStreamTailSize);
                     }),
              "where the"),
      refused("shorter_than_a_footer",
              stream({}, [](MemoryFileSystem& files,
                            const BuiltStream&) { files.truncate(kImage, kStreamTailSize); }),
              "its 1536 bytes do not end as one"),
      refused(
          "size_no_multiple_of_a_sector",
          stream({}, [](MemoryFileSystem& files,
                        const BuiltStream& built) { files.truncate(kImage, built.file_size - 1); }),
          "bytes do not end as one"),
      refused("table_behind_the_end",
              stream({},
                     [](MemoryFileSystem& files, const BuiltStream& built) {
                       std::array<std::byte, 4> bytes{};
                       store_le32(bytes, 0, 1U << 24U);
                       files.poke(kImage, built.directory, bytes);
                     }),
              "grain table 0 (sector 16777216) lies behind the end"),
  };
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Records, HostileRowTest, testing::ValuesIn(record_rows()), RowName());
INSTANTIATE_TEST_SUITE_P(Footers, HostileRowTest, testing::ValuesIn(footer_rows()), RowName());

}  // namespace
}  // namespace vmdk::test
