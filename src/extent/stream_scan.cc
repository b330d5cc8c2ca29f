#include "extent/stream_scan.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "extent/grain_tables.h"
#include "extent/record_reader.h"
#include "extent/stream_extent.h"
#include "format/bounds.h"
#include "format/stream_marker.h"

namespace vmdk {
namespace {

constexpr std::size_t kMaxFindings = 1000;
// Read in one go.
constexpr std::uint64_t kWindowBytes = kMiB;
// Tables in memory at one time; each is looked at once.
constexpr std::uint64_t kTableBytes = kMiB;
// Records between two reports of progress.
constexpr std::uint64_t kReportEvery = 256;
// Of a record, in the file: the least that one can take.
constexpr std::uint64_t kLeastRecord = kSectorSize;
// Of a marker: all that is in one, and where its type is.
constexpr std::size_t kMarkerHead = 16;
constexpr std::size_t kTypeAt = 12;

struct Area {
  std::uint64_t begin;  // sectors
  std::uint64_t end;
};

class Scanner {
 public:
  Scanner(const File& file, const SparseHeader& header, const GrainDirectory& directory,
          const StreamShape& shape)
      : file_(file),
        header_(header),
        directory_(directory),
        shape_(shape),
        tables_(file, stream_layout(header, directory, shape.extent_bytes), cache_) {}

  Result<StreamScan> run(const Progress& progress) {
    list_metadata();
    RETURN_IF_ERROR(compare_copies());
    RETURN_IF_ERROR(collect());
    std::sort(places_.begin(), places_.end(), [](const RecordPlace& a, const RecordPlace& b) {
      return std::pair(a.sector, a.grain) < std::pair(b.sector, b.grain);
    });
    RETURN_IF_ERROR(read_records(progress));
    return std::move(scan_);
  }

 private:
  void damage(std::string text) {
    ++scan_.damaged;
    if (scan_.findings.size() < kMaxFindings)
      scan_.findings.push_back(std::move(text));
  }

  void list_metadata() {
    const std::uint64_t sectors = header_.directory_sectors();
    const auto add = [&](Sectors at, std::uint64_t length) {
      metadata_.push_back({at.count(), at.count() + length});
    };
    add(Sectors(0), 1);
    if (header_.descriptor_offset.count() != 0)
      add(header_.descriptor_offset, header_.descriptor_size.count());
    add(header_.gd_offset, sectors);
    if (header_.has_redundant_tables())
      add(header_.rgd_offset, sectors);
    for (const auto* tables : {&directory_.primary, &directory_.redundant})
      for (const std::uint32_t table : *tables)
        if (table != 0)
          add(Sectors(table), kGrainTableSize / kSectorSize);
    std::sort(metadata_.begin(), metadata_.end(),
              [](const Area& a, const Area& b) { return a.begin < b.begin; });
  }

  // The areas do not overlap each other: the directory was read.
  bool meets_metadata(std::uint64_t begin, std::uint64_t end) const {
    const auto behind =
        std::upper_bound(metadata_.begin(), metadata_.end(), begin,
                         [](std::uint64_t sector, const Area& area) { return sector < area.end; });
    return behind != metadata_.end() && behind->begin < end;
  }

  Status compare_copies() {
    if (!directory_.has_redundant())
      return {};
    std::array<std::byte, kGrainTableSize> primary;
    std::array<std::byte, kGrainTableSize> redundant;
    for (std::uint64_t i = 0; i < directory_.table_count(); ++i) {
      RETURN_IF_ERROR(read_table(directory_.primary[i], primary));
      RETURN_IF_ERROR(read_table(directory_.redundant[i], redundant));
      if (primary != redundant)
        damage(fmt::format("the two copies of grain table {} differ", i));
    }
    return {};
  }

  // A table that is not there holds nothing.
  Status read_table(std::uint32_t sector, std::span<std::byte> into) const {
    std::fill(into.begin(), into.end(), std::byte{0});
    if (sector == 0)
      return {};
    ASSIGN_OR_RETURN(const std::size_t got, file_.read(FileOffset(sector * kSectorSize), into));
    if (got != into.size())
      return Error::make(ErrorCode::kIo,
                         fmt::format("{}: was cut while it was being checked", file_.name()));
    return {};
  }

  Status collect() {
    for (std::uint64_t grain = 0; grain < tables_.grain_count();) {
      const auto inside = epochs_.enter();
      // A table at a time: the runs of a whole disk would keep its tables from going.
      const std::uint64_t in_table = kEntriesPerTable - grain % kEntriesPerTable;
      ASSIGN_OR_RETURN(const GrainRun run, tables_.scan(grain, in_table));
      for (const std::uint64_t end = grain + run.count; grain < end; ++grain)
        RETURN_IF_ERROR(note(grain, run.state));
    }
    return {};
  }

  Status note(std::uint64_t grain, GrainState state) {
    if (state == GrainState::kZero)
      ++scan_.zero_grains;
    if (state != GrainState::kData && state != GrainState::kBad)
      return {};
    ASSIGN_OR_RETURN(const GrainEntry entry, tables_.entry(grain));
    // What the file has no room for is not kept: the memory is bounded by the file, not by what its
    // tables say.
    if (state == GrainState::kData && places_.size() < shape_.file_size / kLeastRecord)
      places_.push_back({grain, entry.on_disk()});
    else if (state == GrainState::kData)
      damage(fmt::format("grain {}: there are more entries than the file has sectors", grain));
    else
      damage(fmt::format("grain {}: its entry {} does not point at a grain inside the file", grain,
                         entry.sector()));
    return {};
  }

  Status read_records(const Progress& progress) {
    RecordReader reader(file_, shape_);
    std::vector<std::byte> grain(shape_.grain_bytes);
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (progress && i % kReportEvery == 0)
        progress(i, places_.size());
      ++scan_.data_grains;
      if (i > 0 && places_[i].sector == places_[i - 1].sector) {
        damage(fmt::format("grain {}: its entry {} is that of grain {} too", places_[i].grain,
                           places_[i].sector, places_[i - 1].grain));
        continue;
      }
      // Not inflated: records inside each other would make the work grow with their square.
      if (places_[i].sector < used_end_) {
        damage(fmt::format("grain {}: its record at sector {} begins inside another one",
                           places_[i].grain, places_[i].sector));
        continue;
      }
      RETURN_IF_ERROR(look_for_lost(places_[i].sector));
      RETURN_IF_ERROR(fetch(reader, places_[i]));
      RETURN_IF_ERROR(read_record(reader, places_[i], grain));
    }
    if (progress)
      progress(places_.size(), places_.size());
    return look_for_lost(shape_.file_size / kSectorSize);
  }

  // Walks from the end of the last record to `end`, where no table names anything, from marker to
  // marker. A record there whose grain has no other is lost: it reads as a hole.
  Status look_for_lost(std::uint64_t end) {
    if (!end_is_sure_)
      return {};
    const std::uint64_t overhead = header_.overhead.count();
    for (std::uint64_t sector = used_end_; sector < end;) {
      if (const Area* const area = metadata_at(sector)) {
        sector = area->end;
        continue;
      }
      std::array<std::byte, kMarkerHead> head{};
      ASSIGN_OR_RETURN(const std::size_t got, file_.read(FileOffset(sector * kSectorSize), head));
      if (got != head.size())
        return {};
      const GrainMarker marker = decode_grain_marker(std::span(head).first<kGrainMarkerSize>());
      const std::uint64_t length = marker.size != 0
                                       ? length_of_record(marker)
                                       : length_of_metadata(marker.lba, load_le32(head, kTypeAt));
      // Grains begin at overHead, mostly: what is before it may be padding.
      if (length == 0 && sector < overhead) {
        sector = overhead;
        continue;
      }
      if (length == 0 || length > end - sector)
        return {};
      if (marker.size != 0)
        RETURN_IF_ERROR(note_unnamed(marker.lba / header_.grain_size.count(), sector));
      sector += length;
    }
    return {};
  }

  const Area* metadata_at(std::uint64_t sector) const {
    const auto behind =
        std::upper_bound(metadata_.begin(), metadata_.end(), sector,
                         [](std::uint64_t at, const Area& area) { return at < area.end; });
    return behind != metadata_.end() && behind->begin <= sector ? &*behind : nullptr;
  }

  // In sectors; 0: it is no record of this extent.
  std::uint64_t length_of_record(const GrainMarker& marker) const {
    const bool is_one = marker.lba % header_.grain_size.count() == 0 &&
                        marker.lba < shape_.extent_bytes / kSectorSize &&
                        marker.size <= 2 * shape_.grain_bytes;
    return is_one ? ceil_div(kGrainMarkerSize + marker.size, kSectorSize) : 0;
  }

  // In sectors, its marker included; 0: it is none.
  static std::uint64_t length_of_metadata(std::uint64_t sectors, std::uint32_t type) {
    const bool is_one = type >= static_cast<std::uint32_t>(MarkerType::kGrainTable) &&
                        type <= static_cast<std::uint32_t>(MarkerType::kFooter) && sectors != 0 &&
                        sectors <= kMaxDirectoryBytes / kSectorSize;
    return is_one ? 1 + sectors : 0;
  }

  Status note_unnamed(std::uint64_t grain, std::uint64_t sector) {
    const auto inside = epochs_.enter();
    ASSIGN_OR_RETURN(const GrainEntry entry, tables_.entry(grain));
    if (entry.state() == GrainState::kNone)
      damage(fmt::format("grain {}: no table names its record at sector {}", grain, sector));
    return {};
  }

  Status fetch(RecordReader& reader, const RecordPlace& place) {
    const std::uint64_t begin = place.begin().bytes();
    if (begin + shape_.longest_record() <= fetched_end_ || fetched_end_ == shape_.file_size)
      return {};
    fetched_end_ = std::min(begin + kWindowBytes + shape_.longest_record(), shape_.file_size);
    return reader.fetch(place.begin(), fetched_end_ - begin);
  }

  Status read_record(RecordReader& reader, const RecordPlace& place, std::span<std::byte> grain) {
    const auto length = reader.inflate(place, grain);
    if (!length && length.error().code() != ErrorCode::kCorrupt)
      return length.error();
    const std::uint64_t end = place.sector + (length ? *length / kSectorSize : 1);
    if (!length)
      damage(length.error().message());
    else if (meets_metadata(place.sector, end))
      damage(fmt::format("grain {}: its record at sector {} lies in the metadata", place.grain,
                         place.sector));
    used_end_ = end;
    end_is_sure_ = length.has_value();
    return {};
  }

  const File& file_;
  const SparseHeader& header_;
  const GrainDirectory& directory_;
  const StreamShape shape_;
  std::vector<Area> metadata_;
  std::vector<RecordPlace> places_;
  std::uint64_t fetched_end_ = 0;  // bytes
  std::uint64_t used_end_ = 0;     // sectors: behind the records so far
  bool end_is_sure_ = true;        // the last of them was sound
  StreamScan scan_;
  RequestEpochs epochs_;
  TableCache cache_{kTableBytes, epochs_};
  GrainTables tables_;
};

}  // namespace

Result<StreamScan> scan_stream(const File& file, const SparseHeader& header,
                               const GrainDirectory& directory, std::uint64_t extent_bytes,
                               const Progress& progress) {
  if (directory.table_count() > TableCache::kMaxKnownTables)
    return TableCache::too_many_tables(file.name());
  ASSIGN_OR_RETURN(const std::uint64_t size, file.size());
  return Scanner(
             file, header, directory,
             {.grain_bytes = header.grain_bytes(), .extent_bytes = extent_bytes, .file_size = size})
      .run(progress);
}

}  // namespace vmdk
