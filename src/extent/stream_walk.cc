#include "extent/stream_walk.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "base/shortage.h"
#include "extent/record_reader.h"
#include "format/stream_marker.h"

namespace vmdk {
namespace {

// Records shorter than this are walked through by large reads, longer ones by a read each.
constexpr std::uint64_t kLongRecord = 32 * kKiB;
constexpr std::uint64_t kLargeRead = 256 * kKiB;
// Of the file, between two reports of progress.
constexpr std::uint64_t kReportEvery = kGiB;
// Zeros behind the end of a stream that some program padded it with.
constexpr std::uint64_t kMostPadding = kMiB;
// With more entries that no record bears out, besides one a record, tables are not looked at any
// more: they tell nothing, and what is kept of them is bounded.
constexpr std::size_t kMostWrongEntries = 256 * 1024;
// Of grains, and of sectors: an entry has 32 bits.
constexpr std::uint64_t kEndOfNumbers = std::uint64_t{1} << 32U;
constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;

// A file of which a part may not be readable, which is damage, unless this machine is short of
// something: then nothing is known.
class DoubtfulFile {
 public:
  explicit DoubtfulFile(const File& file) : file_(file) {}

  // Bytes read; 0 where it fails.
  std::size_t read(std::uint64_t at, std::span<std::byte> into) {
    const auto got = file_.read(FileOffset(at), into);
    if (!got && is_shortage(got.error()))
      shortage_ = got.error();
    return got ? *got : 0;
  }

  Status status() const { return shortage_ ? Status(*shortage_) : Status(); }

 private:
  const File& file_;
  std::optional<Error> shortage_;
};

// A file that is read ahead of, when that pays.
class MarkerReader {
 public:
  explicit MarkerReader(DoubtfulFile& file) : file_(file), bytes_(kLargeRead) {}

  // `length` bytes; fewer where the file ends or cannot be read. `much`: what follows will be
  // wanted soon.
  std::span<const std::byte> at(std::uint64_t at, std::size_t length, bool much) {
    if (at < begin_ || at + length > begin_ + got_) {
      fetch(at, much ? kLargeRead : length);
      // A large read fails for any bad sector in it.
      if (got_ == 0 && much)
        fetch(at, length);
    }
    const std::span<const std::byte> there(bytes_.data(), got_);
    const std::uint64_t inside = at - begin_;
    return there.subspan(inside, std::min<std::uint64_t>(length, got_ - inside));
  }

 private:
  void fetch(std::uint64_t at, std::size_t length) {
    begin_ = at;
    got_ = file_.read(at, std::span(bytes_).first(length));
  }

  DoubtfulFile& file_;
  std::vector<std::byte> bytes_;
  std::uint64_t begin_ = 0;
  std::size_t got_ = 0;
};

class Walker {
 public:
  Walker(const File& file, const SparseHeader& header, const StreamShape& shape,
         const Progress& progress)
      : file_(file), header_(header), shape_(shape), progress_(progress), reader_(file_) {}

  Result<StreamWalk> run() {
    const std::uint64_t descriptor_end =
        header_.descriptor_offset.count() + header_.descriptor_size.count();
    at_ = std::max<std::uint64_t>({header_.overhead.count(), descriptor_end, 1}) * kSectorSize;
    while (walk_.end.empty())
      step();
    compare_tables();
    RETURN_IF_ERROR(file_.status());
    return finish();
  }

 private:
  void stop_here(std::string_view why) { walk_.end = fmt::format("at byte {} {}", at_, why); }

  void step() {
    report();
    constexpr std::size_t kHead = 16;
    if (at_ >= shape_.file_size || shape_.file_size - at_ < kHead)
      return stop_here("the file ends");
    const auto head = reader_.at(at_, kHead, last_length_ < kLongRecord);
    if (head.size() < kHead)
      return stop_here("the file cannot be read");
    const GrainMarker marker = decode_grain_marker(head.first<kGrainMarkerSize>());
    if (marker.size != 0)
      return take_record(marker);
    pass_metadata(marker.lba, load_le32(head, kGrainMarkerSize));
  }

  void report() {
    if (!progress_ || at_ < next_report_)
      return;
    progress_(at_, shape_.file_size);
    next_report_ = at_ + kReportEvery;
  }

  void take_record(const GrainMarker& marker) {
    const std::uint64_t grain_sectors = header_.grain_size.count();
    if (marker.lba % grain_sectors != 0 || marker.lba >= header_.capacity.count() ||
        marker.size > 2 * shape_.grain_bytes || at_ / kSectorSize >= kEndOfNumbers ||
        marker.lba / grain_sectors >= kEndOfNumbers)
      return no_marker();
    if (marker.size > shape_.file_size - at_ - kGrainMarkerSize)
      return stop_here("a grain is cut off by the end of the file");
    add(marker.lba / grain_sectors);
    pass(align_up(kGrainMarkerSize + marker.size, kSectorSize));
  }

  void add(std::uint64_t grain) {
    const bool in_order = walk_.records.empty() || grain > walk_.records.back().grain;
    if (!in_order)
      doubtful_.back() = true;
    walk_.records.push_back(
        {static_cast<std::uint32_t>(grain), static_cast<std::uint32_t>(at_ / kSectorSize)});
    doubtful_.push_back(!in_order);
    ordered_ = ordered_ && in_order;
    complete_ = false;
  }

  void pass(std::uint64_t bytes) {
    last_length_ = bytes;
    at_ += bytes;
  }

  void pass_metadata(std::uint64_t value, std::uint32_t type) {
    constexpr std::uint32_t kProgress = 4;  // of vSphere; a sector that says nothing
    const std::uint64_t directory = header_.directory_sectors();
    if (type == static_cast<std::uint32_t>(MarkerType::kEndOfStream) && value == 0)
      return end_of_stream();
    if (type == static_cast<std::uint32_t>(MarkerType::kGrainTable) && value == kTableSectors) {
      if (at_ / kSectorSize + 1 < kEndOfNumbers)
        tables_.push_back(static_cast<std::uint32_t>(at_ / kSectorSize + 1));
      return pass((1 + kTableSectors) * kSectorSize);
    }
    if (type == static_cast<std::uint32_t>(MarkerType::kGrainDirectory) && value == directory) {
      complete_ = true;
      return pass((1 + directory) * kSectorSize);
    }
    if (type == static_cast<std::uint32_t>(MarkerType::kFooter))
      return pass(2 * kSectorSize);
    if (type == kProgress)
      return pass(kSectorSize);
    no_marker();
  }

  // Behind the directory there is nothing but the footer, whatever is left of it.
  void no_marker() {
    complete_ = complete_ && shape_.file_size - at_ <= kStreamTailSize;
    stop_here("there is no marker");
  }

  // Zeros look like the end, so they may as well be what a broken copy put in place of grains.
  void end_of_stream() {
    const std::uint64_t rest = shape_.file_size - at_;
    std::vector<std::byte> bytes(std::min(rest, kMostPadding));
    const std::size_t got = file_.read(at_, bytes);
    complete_ = complete_ && got == rest && all_zero(bytes);
    stop_here(complete_ ? "the stream ends" : "the grains end");
  }

  // The tables on the way say again where the grains of a stretch begin.
  void compare_tables() {
    confirmed_.assign(walk_.records.size(), false);
    std::vector<std::byte> bytes(kGrainTableSize);
    for (const std::uint32_t sector : tables_) {
      if (file_.read(sector * kSectorSize, bytes) == bytes.size())
        compare_table(bytes);
    }
    std::sort(compared_.begin(), compared_.end());
    std::sort(impossible_.begin(), impossible_.end());
    const auto has = [](const std::vector<std::uint32_t>& numbers, std::uint32_t number) {
      return std::binary_search(numbers.begin(), numbers.end(), number);
    };
    for (std::size_t i = 0; i < walk_.records.size(); ++i) {
      const std::uint32_t grain = walk_.records[i].grain;
      if (!confirmed_[i] && has(compared_, grain / kEntriesPerTable) && !has(impossible_, grain))
        doubtful_[i] = true;
    }
  }

  // The place in walk_.records, which is in the order of the file.
  std::optional<std::size_t> record_at(std::uint32_t sector) const {
    const auto found = std::lower_bound(
        walk_.records.begin(), walk_.records.end(), sector,
        [](const StreamWalk::Record& record, std::uint32_t at) { return record.sector < at; });
    if (found == walk_.records.end() || found->sector != sector)
      return std::nullopt;
    return static_cast<std::size_t>(found - walk_.records.begin());
  }

  // Which table it is, is told by most of its grains.
  std::optional<std::uint32_t> number_of(std::span<const std::byte> table) const {
    std::map<std::uint32_t, unsigned> votes;
    for (std::uint32_t i = 0; i < kEntriesPerTable; ++i) {
      const auto place = record_at(load_le32(table, i * std::size_t{4}));
      if (place && walk_.records[*place].grain % kEntriesPerTable == i)
        ++votes[walk_.records[*place].grain / kEntriesPerTable];
    }
    const auto most = std::max_element(votes.begin(), votes.end(),
                                       [](auto& a, auto& b) { return a.second < b.second; });
    return most != votes.end() ? std::optional(most->first) : std::nullopt;
  }

  void compare_table(std::span<const std::byte> table) {
    const auto number = number_of(table);
    if (!number || missing_.size() + impossible_.size() > walk_.records.size() + kMostWrongEntries)
      return;
    compared_.push_back(*number);
    for (std::uint32_t i = 0; i < kEntriesPerTable; ++i) {
      const std::uint32_t entry = load_le32(table, i * std::size_t{4});
      const std::uint32_t grain = *number * kEntriesPerTable + i;
      if (entry == 0)
        continue;
      const auto place = record_at(entry);
      if (!place)
        impossible_.push_back(grain);  // then it is the entry that is wrong
      else if (walk_.records[*place].grain == grain)
        confirmed_[*place] = true;
      else
        missing_.push_back(grain);
    }
  }

  StreamWalk finish() {
    const std::uint64_t grain_count = ceil_div(shape_.extent_bytes, shape_.grain_bytes);
    std::vector<StreamWalk::Record>& records = walk_.records;
    const std::uint64_t last = records.empty() ? 0 : records.back().grain + std::uint64_t{1};
    // Front directories belong to writers that put grains where they come; an entry of zeros has
    // no record.
    const bool stream = header_.gd_offset.count() == kDirectoryAtEnd;
    if (ordered_ && !header_.has_zeroed_grains() && (complete_ || stream))
      walk_.known_end = complete_ ? grain_count : last;
    for (std::size_t i = 0; i < records.size(); ++i)
      if (doubtful_[i])
        records[i].sector = 0;
    for (const std::uint32_t grain : missing_)
      records.push_back({grain, 0});
    std::sort(
        records.begin(), records.end(),
        [](const StreamWalk::Record& a, const StreamWalk::Record& b) { return a.grain < b.grain; });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (records[i].grain >= grain_count)
        continue;  // the extent line says less than the header
      if (kept != 0 && records[kept - 1].grain == records[i].grain)
        records[kept - 1].sector = 0;
      else
        records[kept++] = records[i];
    }
    records.resize(kept);
    walk_.doubtful = static_cast<std::uint64_t>(
        std::count_if(records.begin(), records.end(),
                      [](const StreamWalk::Record& record) { return record.sector == 0; }));
    return std::move(walk_);
  }

  DoubtfulFile file_;
  const SparseHeader& header_;
  const StreamShape shape_;
  const Progress& progress_;
  MarkerReader reader_;
  StreamWalk walk_;
  std::uint64_t at_ = 0;
  std::uint64_t last_length_ = 0;
  std::uint64_t next_report_ = kReportEvery;
  std::vector<bool> doubtful_;           // of the records
  std::vector<bool> confirmed_;          // by a table
  std::vector<std::uint32_t> tables_;    // their sectors
  std::vector<std::uint32_t> compared_;  // numbers of tables whose grains were compared
  std::vector<std::uint32_t> missing_;   // grains of which a table knows a record that is not there
  std::vector<std::uint32_t> impossible_;  // grains of which a table says what cannot be
  bool ordered_ = true;
  bool complete_ = false;  // the directory was reached, and nothing follows it
};

}  // namespace

Result<StreamWalk> walk_stream(const File& file, const SparseHeader& header,
                               std::uint64_t file_size, std::uint64_t extent_bytes,
                               const Progress& progress) {
  return Walker(file, header,
                {.grain_bytes = header.grain_bytes(),
                 .extent_bytes = extent_bytes,
                 .file_size = file_size},
                progress)
      .run();
}

WalkedRecords::WalkedRecords(StreamWalk walk, std::uint64_t grain_count,
                             std::unique_ptr<RecordIndex> tables)
    : walk_(std::move(walk)), grain_count_(grain_count), tables_(std::move(tables)) {}

Result<GrainRun> WalkedRecords::scan(std::uint64_t first, std::uint64_t max_count) {
  const auto& records = walk_.records;
  auto next = std::lower_bound(
      records.begin(), records.end(), first,
      [](const StreamWalk::Record& record, std::uint64_t grain) { return record.grain < grain; });
  if (tables_ != nullptr) {
    ASSIGN_OR_RETURN(GrainRun run, tables_->scan(first, max_count));
    // Zeros in a damaged table are no holes where records were found.
    const bool contradicted =
        run.state == GrainState::kNone && next != records.end() && next->grain == first;
    if (run.state == GrainState::kNone && next != records.end() && !contradicted)
      run.count = std::min<std::uint64_t>(run.count, next->grain - first);
    if (run.state != GrainState::kBad && !contradicted)
      return run;
    max_count = run.count;
  }
  const std::uint64_t end = first + std::min(max_count, grain_count_ - first);
  if (next == records.end() || next->grain != first) {
    const bool known = first < walk_.known_end;
    std::uint64_t stop = next == records.end() ? end : std::min<std::uint64_t>(end, next->grain);
    if (known)
      stop = std::min(stop, walk_.known_end);
    return GrainRun{known ? GrainState::kNone : GrainState::kBad, stop - first, 0};
  }
  GrainRun run{next->sector != 0 ? GrainState::kData : GrainState::kBad, 0, next->sector};
  for (; first + run.count < end && next != records.end(); ++next, ++run.count)
    if (next->grain != first + run.count || (next->sector != 0) != (run.sector != 0))
      break;
  return run;
}

Result<GrainEntry> WalkedRecords::entry(std::uint64_t grain) {
  ASSIGN_OR_RETURN(const GrainRun run, scan(grain, 1));
  switch (run.state) {
    case GrainState::kData:
      return GrainEntry::data(run.sector);
    case GrainState::kZero:
      return GrainEntry::zero();
    case GrainState::kBad:
      return GrainEntry::bad(run.sector);
    default:
      return GrainEntry::none();
  }
}

}  // namespace vmdk
