#include "extent/stream_extent.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/checked_math.h"
#include "base/shortage.h"
#include "extent/damaged_directory.h"
#include "extent/grain_runs.h"
#include "extent/salvaged_tables.h"
#include "extent/stream_walk.h"
#include "format/stream_marker.h"

namespace vmdk {
namespace {

// Of the disk: what a request has in memory at one time, and what one read of the file is for.
constexpr std::uint64_t kPieceBytes = kMiB;
// How far ahead of a sequential stream grains are inflated, and in what pieces.
constexpr std::uint64_t kAheadBytes = 8 * kMiB;
constexpr std::uint64_t kAheadPieceBytes = 256 * kKiB;

// Damage is an error of the request here: one grain cannot be read, the image goes on.
Error unreadable(const File& file, const Error& error) {
  if (error.code() != ErrorCode::kCorrupt)
    return error;
  return Error::make(ErrorCode::kIo, fmt::format("{}: {}", file.name(), error.message()));
}

// The records as the grain tables have them.
class TabledRecords : public RecordIndex {
 public:
  TabledRecords(const File& file, GrainLayout layout, TableCache& cache,
                std::unique_ptr<const TableSource> source,
                std::unique_ptr<const TableDoubts> doubts)
      : tables_(file, std::move(layout), cache, {}, std::move(source), std::move(doubts)) {}

  Result<GrainRun> scan(std::uint64_t first, std::uint64_t max_count) override {
    return tables_.scan(first, max_count);
  }

  Result<GrainEntry> entry(std::uint64_t grain) override { return tables_.entry(grain); }

 private:
  GrainTables tables_;
};

// What the tables of a damaged stream know. nullptr: they cannot be found.
Result<std::unique_ptr<RecordIndex>> damaged_tables(const File& file, const SparseHeader& header,
                                                    const StreamShape& shape, TableCache& cache,
                                                    SalvageNotes& notes) {
  auto damaged = read_damaged_directory(file, header, shape.file_size);
  if (!damaged && is_shortage(damaged.error()))
    return std::move(damaged).error();
  if (!damaged)
    return std::unique_ptr<RecordIndex>();
  GrainLayout layout = stream_layout(header, std::move(damaged->directory), shape.extent_bytes);
  auto tables = std::make_unique<SalvagedTables>(file, layout, *std::move(damaged),
                                                 shape.extent_bytes, shape.file_size, false);
  RETURN_IF_ERROR(tables->choose(notes));
  return std::unique_ptr<RecordIndex>(
      std::make_unique<TabledRecords>(file, std::move(layout), cache, std::move(tables), nullptr));
}

std::string told(const StreamWalk& walk, const StreamShape& shape, bool beside_tables) {
  std::string text = fmt::format("its grains were looked for by their markers: {} found, {}",
                                 walk.records.size() - walk.doubtful, walk.end);
  if (walk.doubtful != 0)
    text +=
        fmt::format("; {} that contradict others or the tables on the way read EIO", walk.doubtful);
  const std::uint64_t known = walk.known_end * shape.grain_bytes;
  if (known >= shape.extent_bytes)
    return text;
  if (beside_tables || walk.known_end == 0)
    return text + "; grains of which nothing is known read EIO";
  return text + fmt::format("; bytes {} to {} of the extent read EIO", known, shape.extent_bytes);
}

}  // namespace

Result<SparseHeader> read_stream_header(const File& file, const SparseHeader& header) {
  const auto named = [&](Error error) { return std::move(error).with_context(file.name()); };
  ASSIGN_OR_RETURN(const std::uint64_t size, file.size());
  SparseHeader counts = header;
  if (header.gd_offset.count() == kDirectoryAtEnd) {
    if (size % kSectorSize != 0 || size < kSparseHeaderSize + kStreamTailSize)
      return named(Error::make(
          ErrorCode::kCorrupt,
          fmt::format("cut: a footer should name its directory, but its {} bytes do not end as one",
                      size)));
    std::array<std::byte, kStreamTailSize> tail{};
    ASSIGN_OR_RETURN(const std::size_t got, file.read(FileOffset(size - tail.size()), tail));
    if (got != tail.size())
      return named(Error::make(ErrorCode::kIo, "its end cannot be read"));
    auto footer = decode_stream_footer(header, tail);
    if (!footer)
      return named(std::move(footer).error());
    counts = *footer;
  }
  if (auto valid = validate_stream_against_file(counts, size); !valid)
    return named(std::move(valid).error());
  return counts;
}

GrainLayout stream_layout(const SparseHeader& header, GrainDirectory directory,
                          std::uint64_t extent_bytes) {
  GrainLayout layout = layout_of(header, std::move(directory), extent_bytes);
  layout.data_begin = kSparseHeaderSize;
  layout.compressed = true;
  return layout;
}

// Grains that this thread has claimed, in the order of the disk. What was not published is free
// again at the end.
class StreamExtent::Claims {
 public:
  explicit Claims(StreamExtent& extent) noexcept : extent_(extent) {}

  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;

  ~Claims() {
    for (const Claim& claim : claims_)
      if (claim.bytes == nullptr)
        extent_.shared_.inflated.abandon(extent_.key_of(claim.place.grain));
  }

  // Called before the claim is made, so that keeping it cannot fail.
  void make_room() {
    if (claims_.size() == claims_.capacity())
      claims_.reserve(2 * claims_.size() + 8);
  }

  void add(std::uint64_t grain) noexcept { claims_.push_back({{grain, 0}, nullptr}); }

  struct Claim {
    RecordPlace place;
    InflatedCache::Bytes bytes;  // once it is published
  };

  std::span<Claim> list() noexcept { return claims_; }

 private:
  StreamExtent& extent_;
  std::vector<Claim> claims_;
};

Result<std::unique_ptr<StreamExtent>> StreamExtent::open(OpenFile& file, const SparseHeader& header,
                                                         std::uint64_t size, const Shared& shared) {
  ASSIGN_OR_RETURN(const SparseHeader counts, read_stream_header(file.file(), header));
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  RETURN_IF_ERROR(shared.tables.require_room(file.name(), counts.table_count()));
  ASSIGN_OR_RETURN(GrainDirectory directory, read_grain_directory(file.file(), counts, file_size));
  const StreamShape shape{
      .grain_bytes = counts.grain_bytes(), .extent_bytes = size, .file_size = file_size};
  auto records = std::make_unique<TabledRecords>(
      file.file(), stream_layout(counts, std::move(directory), size), shared.tables, nullptr,
      std::make_unique<TableDoubts>(file.file(), counts.unclean, shared.log));
  return std::unique_ptr<StreamExtent>(
      new StreamExtent(file, counts, std::move(records), shape, shared));
}

Result<std::unique_ptr<StreamExtent>> StreamExtent::open_salvaged(
    OpenFile& file, const SparseHeader& header, std::uint64_t size, const Shared& shared,
    SalvageNotes& notes, const Progress& progress) {
  RETURN_IF_ERROR(shared.tables.require_room(file.name(), header.table_count()));
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  const StreamShape shape{
      .grain_bytes = header.grain_bytes(), .extent_bytes = size, .file_size = file_size};
  const auto counts = read_stream_header(file.file(), header);
  if (!counts && is_shortage(counts.error()))
    return counts.error();
  const SparseHeader& found = counts ? *counts : header;
  const std::uint64_t notes_before = notes.count();
  ASSIGN_OR_RETURN(std::unique_ptr<RecordIndex> tables,
                   damaged_tables(file.file(), found, shape, shared.tables, notes));
  const bool sound = counts && tables != nullptr && notes.count() == notes_before;
  if (!sound) {
    if (!counts)
      notes.add(counts.error().message());
    ASSIGN_OR_RETURN(StreamWalk walk, walk_stream(file.file(), header, file_size, size, progress));
    if (walk.records.empty() && tables == nullptr)
      return counts ? Error::make(ErrorCode::kCorrupt,
                                  fmt::format("{}: neither a grain directory nor a grain is found",
                                              file.name()))
                    : counts.error();
    notes.add(fmt::format("{}: {}", file.name(), told(walk, shape, tables != nullptr)));
    const std::uint64_t grains = ceil_div(size, shape.grain_bytes);
    tables = std::make_unique<WalkedRecords>(std::move(walk), grains, std::move(tables));
  }
  return std::unique_ptr<StreamExtent>(
      new StreamExtent(file, found, std::move(tables), shape, shared));
}

StreamExtent::StreamExtent(OpenFile& file, const SparseHeader& header,
                           std::unique_ptr<RecordIndex> records, const StreamShape& shape,
                           const Shared& shared)
    : file_(file),
      header_(header),
      shape_(shape),
      shared_(shared),
      records_(std::move(records)),
      sequences_(std::max<std::uint64_t>(kAheadBytes / shape.grain_bytes, 1)) {}

std::uint64_t StreamExtent::grain_count() const noexcept {
  return ceil_div(shape_.extent_bytes, shape_.grain_bytes);
}

StreamExtent::~StreamExtent() {
  shared_.helpers.dismiss(this);
  shared_.inflated.forget(this);
}

Result<Run> StreamExtent::lookup(ExtentOffset at, std::uint64_t max_length) {
  return run_at(*records_, shape_.grain_bytes, shape_.extent_bytes, at, max_length);
}

Status StreamExtent::read(FileOffset /*where*/, std::span<std::byte> /*into*/) const {
  return Error::make(ErrorCode::kIo, fmt::format("{}: its grains are compressed", file_.name()));
}

Status StreamExtent::read_compressed(ExtentOffset at, std::span<std::byte> into) {
  const std::uint64_t end = at.bytes() + into.size();
  // Before the request's own grains: the helpers begin while this thread inflates.
  have_ready(sequences_.note(at.bytes() / shape_.grain_bytes, ceil_div(end, shape_.grain_bytes)));
  while (!into.empty()) {
    const std::uint64_t to_boundary = kPieceBytes - at.bytes() % kPieceBytes;
    const auto piece = into.first(std::min<std::uint64_t>(into.size(), to_boundary));
    RETURN_IF_ERROR(read_piece(at, piece));
    into = into.subspan(piece.size());
    at += piece.size();
  }
  return {};
}

// Claims what nobody has, inflates it, and only then waits for what others inflate.
Status StreamExtent::read_piece(ExtentOffset at, std::span<std::byte> into) {
  const std::uint64_t first = at.bytes() / shape_.grain_bytes;
  const std::uint64_t count = ceil_div(at.bytes() + into.size(), shape_.grain_bytes) - first;
  std::vector<InflatedCache::Look> looks(count);
  {
    Claims claims(*this);
    for (std::uint64_t i = 0; i < count; ++i) {
      claims.make_room();
      looks[i] = shared_.inflated.look(key_of(first + i));
      if (looks[i].bytes == nullptr && looks[i].work == nullptr)
        claims.add(first + i);
    }
    RETURN_IF_ERROR(load(claims));
    for (const Claims::Claim& claim : claims.list())
      looks[claim.place.grain - first].bytes = claim.bytes;
  }
  std::uint64_t inside = at.bytes() % shape_.grain_bytes;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (looks[i].bytes == nullptr) {
      ASSIGN_OR_RETURN(looks[i].bytes, wait_for(first + i, std::move(looks[i].work)));
    }
    const std::uint64_t length = std::min<std::uint64_t>(into.size(), shape_.grain_bytes - inside);
    std::memcpy(into.data(), looks[i].bytes.get() + inside, length);
    into = into.subspan(length);
    inside = 0;
  }
  return {};
}

// What another thread gave up is tried here: a request gets its own answer, not another's error.
Result<InflatedCache::Bytes> StreamExtent::wait_for(std::uint64_t grain,
                                                    std::shared_ptr<InflatedCache::Work> work) {
  for (;;) {
    if (InflatedCache::Bytes bytes = work->wait(); bytes != nullptr)
      return bytes;
    Claims claims(*this);
    claims.make_room();
    InflatedCache::Look look = shared_.inflated.look(key_of(grain));
    if (look.bytes != nullptr)
      return look.bytes;
    if (look.work != nullptr) {
      work = std::move(look.work);
      continue;
    }
    claims.add(grain);
    RETURN_IF_ERROR(load(claims));
    return claims.list().front().bytes;
  }
}

// Where the record of the last grain of a read surely ends: where the next grain of the disk
// begins, when that follows it in the file.
Result<std::uint64_t> StreamExtent::end_of_record(const RecordPlace& place) {
  const std::uint64_t begin = place.begin().bytes();
  if (place.grain + 1 < grain_count()) {
    ASSIGN_OR_RETURN(const GrainEntry next, records_->entry(place.grain + 1));
    const std::uint64_t end = next.sector() * kSectorSize;
    if (next.state() == GrainState::kData && end > begin && end <= begin + shape_.longest_record())
      return end;
  }
  return std::min(begin + shape_.grain_bytes + kSectorSize, shape_.file_size);
}

// Inflates and publishes all claims. Records that follow each other in the file take one read.
Status StreamExtent::load(Claims& claims) {
  const auto list = claims.list();
  for (Claims::Claim& claim : list) {
    ASSIGN_OR_RETURN(const GrainEntry entry, records_->entry(claim.place.grain));
    if (entry.state() != GrainState::kData)
      return Error::make(ErrorCode::kIo, fmt::format("{}: grain {} is not compressed data",
                                                     file_.name(), claim.place.grain));
    claim.place.sector = entry.on_disk();
  }
  RecordReader reader(file_.file(), shape_);
  for (std::size_t i = 0; i < list.size();) {
    std::size_t end = i + 1;
    const std::uint64_t begin = list[i].place.begin().bytes();
    const auto follows = [&](const RecordPlace& last, const RecordPlace& next) {
      return next.sector > last.sector && next.begin() - last.begin() <= shape_.longest_record() &&
             next.begin().bytes() - begin <= kPieceBytes;
    };
    while (end < list.size() && follows(list[end - 1].place, list[end].place))
      ++end;
    ASSIGN_OR_RETURN(const std::uint64_t behind, end_of_record(list[end - 1].place));
    RETURN_IF_ERROR(reader.fetch(FileOffset(begin), behind - begin));
    for (; i < end; ++i) {
      auto bytes = std::make_shared_for_overwrite<std::byte[]>(shape_.grain_bytes);
      const auto done = reader.inflate(list[i].place, {bytes.get(), shape_.grain_bytes});
      if (!done)
        return unreadable(file_.file(), done.error());
      shared_.inflated.publish(key_of(list[i].place.grain), bytes, shape_.grain_bytes);
      list[i].bytes = std::move(bytes);
    }
  }
  return {};
}

// Nothing depends on it: without memory the reader does all himself.
void StreamExtent::have_ready(const SequenceDetector::Ahead& ahead) noexcept {
  try {
    submit_ahead(ahead);
  } catch (const std::bad_alloc&) {
  }
}

void StreamExtent::submit_ahead(const SequenceDetector::Ahead& ahead) {
  const std::uint64_t end = std::min(ahead.first + ahead.count, grain_count());
  const std::uint64_t piece = std::max<std::uint64_t>(kAheadPieceBytes / shape_.grain_bytes, 1);
  for (std::uint64_t first = ahead.first; first < end; first += piece)
    shared_.helpers.submit(
        this, [this, first, count = std::min(piece, end - first)] { read_ahead(first, count); });
}

// Errors are dropped: the read that needs the grain will tell.
void StreamExtent::read_ahead(std::uint64_t first, std::uint64_t count) {
  const auto inside = shared_.tables.epochs().enter();
  Claims claims(*this);
  for (std::uint64_t grain = first; grain < first + count; ++grain) {
    const auto entry = records_->entry(grain);
    if (!entry)
      break;
    claims.make_room();
    if (entry->state() == GrainState::kData && shared_.inflated.try_claim(key_of(grain)))
      claims.add(grain);
  }
  [[maybe_unused]] const Status dropped = load(claims);
}

}  // namespace vmdk
