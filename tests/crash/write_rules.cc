#include "crash/write_rules.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "crash/extent_watch.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kFlagsOffset = 8;  // in the header

using Entries = std::vector<std::uint32_t>;

// What one sparse extent file is known to hold, as issued and as durable.
class SparseWatch : public ExtentWatch {
 public:
  SparseWatch(const SampleDisk::Extent& extent, std::uint64_t disk_end,
              const MemoryFileSystem& initial)
      : built_(extent.built),
        bytes_(std::min(disk_end - extent.begin, header().capacity_bytes())),
        size_(initial.size(extent.file)),
        synced_size_(size_),
        marked_(initial.bytes(extent.file, kUncleanMarkOffset, 1)[0] != std::byte{0}),
        mark_durable_(marked_) {
    const std::uint32_t flags = load_le32(initial.bytes(extent.file, kFlagsOffset, 4), 0);
    redundant_ = (flags & sparse_flag::kRedundantTables) != 0;
    for (const bool second : {false, true})
      for (std::uint64_t grain = 0; grain < grain_count(); ++grain)
        copy(second).push_back(load_le32(initial.bytes(extent.file, at(grain, second), 4), 0));
    durable_ = primary_;
  }

  void write(const LogEntry& entry, bool closing, bool id_durable) override {
    size_ = std::max(size_, entry.offset + entry.length);
    changed_ = true;
    if (entry.offset == kUncleanMarkOffset && entry.length == 1)
      return write_mark(entry.data[0] != std::byte{0}, closing);
    if (entry.offset >= data_begin())
      return write_data(entry, id_durable);
    for (const bool second : {true, false})
      if (entry.offset >= built_.table_at(0, second) && entry.offset < tables_end(second))
        return write_table(entry, second);
    throw Broken("metadata other than tables, mark and content id was written");
  }

  void grow(std::uint64_t end) override {
    require(end >= size_, "no growth backwards: grow made the file shorter");
    size_ = end;
    changed_ = true;
  }

  void resize(std::uint64_t end, bool closing) override {
    require(closing, "no growth backwards: the file was resized before close");
    for (const std::uint32_t entry : primary_)
      require(entry <= 1 || std::uint64_t{entry} * kSectorSize + 1 <= end,
              "no growth backwards: the cut hits a grain");
    size_ = end;
    changed_ = true;
  }

  void punch(std::uint64_t begin, std::uint64_t length) override {
    require(mark_durable_, "mark: space was punched before it");
    for (const std::uint32_t entry : durable_) {
      const std::uint64_t grain = std::uint64_t{entry} * kSectorSize;
      require(entry <= 1 || grain + header().grain_bytes() <= begin || grain >= begin + length,
              "reuse: a grain was punched that a durable table names");
    }
  }

  void sync() override {
    unsynced_.clear();
    tables_unsynced_ = false;
    durable_ = primary_;
    synced_size_ = size_;
    mark_durable_ = marked_;
    changed_ = false;
  }

  bool all_durable() const noexcept override { return !changed_; }

  bool is_marked() const noexcept override { return marked_; }

 private:
  const SparseHeader& header() const noexcept { return built_.layout.header; }

  std::uint64_t data_begin() const noexcept { return header().overhead.count() * kSectorSize; }

  std::uint64_t grain_count() const noexcept { return ceil_div(bytes_, header().grain_bytes()); }

  std::uint64_t at(std::uint64_t grain, bool second) const {
    return built_.entry_at(grain, second);
  }

  std::uint64_t tables_end(bool second) const {
    return built_.table_at(header().table_count(), second);
  }

  Entries& copy(bool second) noexcept { return second ? second_ : primary_; }

  void write_mark(bool set, bool closing) {
    if (!set) {
      require(closing, "mark: taken away before close");
      require(unsynced_.empty() && !tables_unsynced_ && synced_size_ == size_,
              "mark: taken away before everything else was durable");
      require(!redundant_ || primary_ == second_, "mark: taken away although the copies differ");
    }
    marked_ = set;
  }

  void write_data(const LogEntry& entry, bool id_durable) {
    require(mark_durable_, "mark: data was written before it");
    require(id_durable, "content id: data was written before it");
    // The runs have one thread: nobody else writes while a commit is under way.
    require(!tables_unsynced_, "grain before entry: data was written between tables and sync");
    for (std::uint64_t sector = entry.offset / kSectorSize;
         sector * kSectorSize < entry.offset + entry.length; ++sector)
      unsynced_.insert(sector);
  }

  void write_table(const LogEntry& entry, bool second) {
    require(mark_durable_, "mark: a table was written before it");
    require(entry.offset % kSectorSize == 0 && entry.length % kSectorSize == 0,
            "whole sectors: a part of a table sector was written");
    tables_unsynced_ = true;
    for (std::uint64_t i = 0; i < entry.length / 4; ++i) {
      const std::uint64_t grain = (entry.offset - built_.table_at(0, second)) / 4 + i;
      if (grain >= grain_count())
        break;
      const std::uint32_t value = load_le32(entry.data, i * 4);
      if (value != copy(second)[grain])
        new_entry(grain, value, second);
    }
  }

  void new_entry(std::uint64_t grain, std::uint32_t value, bool second) {
    copy(second)[grain] = value;
    require(second || !redundant_ || second_[grain] == value,
            "whole sectors: the primary table was written before the redundant one");
    if (value <= 1)
      return;
    const std::uint64_t begin = std::uint64_t{value} * kSectorSize;
    const std::uint64_t needed =
        std::min(header().grain_bytes(), bytes_ - grain * header().grain_bytes());
    require(begin + needed <= synced_size_, "grain before entry: the file is not that long yet");
    const auto open = unsynced_.lower_bound(value);
    require(open == unsynced_.end() || *open * kSectorSize >= begin + needed,
            "grain before entry: no sync covers the grain");
    for (std::uint64_t other = 0; other < durable_.size(); ++other)
      require(other == grain || durable_[other] != value,
              "reuse: a durable table names the grain's space for another grain");
  }

  const BuiltSparse& built_;
  const std::uint64_t bytes_;  // of the disk
  bool redundant_ = true;
  std::uint64_t size_;
  std::uint64_t synced_size_;
  bool marked_;
  bool mark_durable_;
  bool changed_ = false;  // something but a punch is unsynced
  bool tables_unsynced_ = false;
  std::set<std::uint64_t> unsynced_;  // sectors of the data area
  Entries primary_;
  Entries second_;
  Entries durable_;  // primary
};

// Data goes in place, so only the content id has to come before it.
class FlatWatch : public ExtentWatch {
 public:
  explicit FlatWatch(std::uint64_t size) : size_(size) {}

  void write(const LogEntry& entry, bool /*closing*/, bool id_durable) override {
    require(id_durable, "content id: data was written before it");
    require(entry.offset + entry.length <= size_, "flat: written behind the end of the extent");
    changed_ = true;
  }

  void grow(std::uint64_t /*end*/) override { require(false, "flat: the file was lengthened"); }

  void resize(std::uint64_t /*end*/, bool /*closing*/) override {
    require(false, "flat: the length of the file was changed");
  }

  void punch(std::uint64_t begin, std::uint64_t length) override {
    require(begin + length <= size_, "flat: punched behind the end of the extent");
    changed_ = true;
  }

  void sync() override { changed_ = false; }

  bool all_durable() const noexcept override { return !changed_; }

  bool is_marked() const noexcept override { return false; }

 private:
  const std::uint64_t size_;
  bool changed_ = false;
};

std::unique_ptr<ExtentWatch> watch_of(const SampleDisk::Extent& extent, std::uint64_t disk_end,
                                      const MemoryFileSystem& initial) {
  if (extent.flat)
    return std::make_unique<FlatWatch>(initial.size(extent.file));
  if (extent.cowd)
    return watch_cowd(extent, initial);
  return std::make_unique<SparseWatch>(extent, disk_end, initial);
}

class RuleChecker {
 public:
  RuleChecker(const CrashRun& run, const MemoryFileSystem& initial)
      : sample_(run.sample()), text_(sample_.image.string()) {
    const auto& extents = sample_.extents;
    for (std::size_t i = 0; i < extents.size(); ++i) {
      const std::uint64_t end = i + 1 < extents.size() ? extents[i + 1].begin : sample_.capacity();
      watches_.emplace(extents[i].file, watch_of(extents[i], end, initial));
    }
  }

  void apply(const LogEntry& entry) {
    if (entry.kind == LogEntry::Kind::kMarker)
      return apply_marker(entry.text);
    require(std::find(sample_.parents.begin(), sample_.parents.end(), entry.file) ==
                    sample_.parents.end() ||
                entry.kind == LogEntry::Kind::kSync,
            "parents: one was changed");
    require(entry.kind != LogEntry::Kind::kCreate && entry.kind != LogEntry::Kind::kRemove,
            "content id: a file was made or removed");
    if (entry.kind == LogEntry::Kind::kWrite && is_text(entry))
      return write_id();
    if (entry.kind == LogEntry::Kind::kSync && entry.file == text_)
      id_durable_ = id_written_;
    if (const auto watch = watches_.find(entry.file); watch != watches_.end())
      apply_to(*watch->second, entry);
  }

 private:
  // The descriptor: a file of its own, or the sectors behind the header.
  bool is_text(const LogEntry& entry) const {
    if (entry.file != text_)
      return false;
    const auto extent = std::find_if(sample_.extents.begin(), sample_.extents.end(),
                                     [&](const auto& one) { return one.file == text_; });
    if (extent == sample_.extents.end())
      return true;
    const SparseHeader& header = extent->built.layout.header;
    const std::uint64_t begin = header.descriptor_offset.count() * kSectorSize;
    return entry.offset >= begin &&
           entry.offset + entry.length <= begin + header.descriptor_size.count() * kSectorSize;
  }

  void write_id() {
    require(!id_written_, "content id: written twice");
    id_written_ = true;
  }

  void apply_to(ExtentWatch& watch, const LogEntry& entry) {
    switch (entry.kind) {
      case LogEntry::Kind::kWrite:
        return watch.write(entry, closing_, id_durable_);
      case LogEntry::Kind::kGrow:
        return watch.grow(entry.length);
      case LogEntry::Kind::kResize:
        return watch.resize(entry.length, closing_);
      case LogEntry::Kind::kPunch:
        return watch.punch(entry.offset, entry.length);
      case LogEntry::Kind::kSync:
        return watch.sync();
      default:
        return;
    }
  }

  void apply_marker(const std::string& text) {
    if (text == kCloseMarker) {
      closing_ = true;
      return;
    }
    require(id_durable_ == id_written_, "flush: it returned before the content id was durable");
    for (const auto& [file, watch] : watches_) {
      require(watch->all_durable(), "flush: it returned before all was durable");
      require(text != kClosedMarker || !watch->is_marked(), "mark: still there after close");
    }
    // Whatever comes now belongs to another open.
    if (text == kClosedMarker)
      closing_ = id_written_ = id_durable_ = false;
  }

  const SampleDisk& sample_;
  const std::string text_;
  std::map<std::string, std::unique_ptr<ExtentWatch>> watches_;
  bool id_written_ = false;
  bool id_durable_ = false;
  bool closing_ = false;
};

}  // namespace

std::optional<std::string> broken_rule(const CrashRun& run, const MemoryFileSystem& initial) {
  RuleChecker checker(run, initial);
  const auto& log = run.files().log();
  for (std::size_t i = 0; i < log.size(); ++i) {
    try {
      checker.apply(log[i]);
    } catch (const Broken& broken) {
      return fmt::format("{} (log entry {}: {})", broken.what(), i, to_string(log[i]));
    }
  }
  return std::nullopt;
}

}  // namespace vmdk::test
