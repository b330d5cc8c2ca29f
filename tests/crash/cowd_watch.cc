// The write rules of COWD extents. Grains are sectors here.
#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "crash/extent_watch.h"
#include "support/sparse_bytes.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kEntries = 4096;
constexpr std::uint64_t kTableBytes = kEntries * 4;

class CowdWatch : public ExtentWatch {
 public:
  CowdWatch(const SampleDisk::Extent& extent, const MemoryFileSystem& initial)
      : directory_(extent.cowd->directory), issued_(initial.content(extent.file)) {
    table_count_ = load(kCowdDirectoryEntriesAt);
    synced_size_ = issued_.size();
    free_durable_ = free_at_start_ = load(kCowdFreeSectorAt);
    marked_ = mark_durable_ = load(kCowdUncleanAt) != 0;
    for (std::uint64_t table = 0; table < table_count_; ++table)
      if (const std::uint32_t at = load(directory_ + table * 4); at != 0)
        tables_[table] = {at, entries_at(at)};
    durable_ = named_sectors();
  }

  void write(const LogEntry& entry, bool closing, bool id_durable) override {
    const std::uint64_t end = entry.offset + entry.length;
    issued_.write(entry.offset, entry.data);
    changed_ = true;
    if (entry.offset == kCowdUncleanAt && entry.length == 4)
      return write_mark(closing);
    if (entry.offset == kCowdFreeSectorAt && entry.length == 4)
      return write_free_sector(closing);
    require(mark_durable_, "mark: something was written before it");
    require(id_durable, "content id: data was written before it");
    const std::uint64_t directory_end = directory_ + table_count_ * 4;
    if (entry.offset < directory_end) {
      require(entry.offset >= directory_ && end <= directory_end && entry.offset % 4 == 0,
              "metadata other than directory, tables, mark and free sector was written");
      return name_tables(entry);
    }
    for (auto& [table, known] : tables_)
      if (entry.offset < (known.sector + 32) * kSectorSize && end > known.sector * kSectorSize)
        return change_table(entry, table, known);
    require(!names_unsynced_, "grain before entry: data was written between tables and sync");
    for (std::uint64_t sector = entry.offset / kSectorSize; sector * kSectorSize < end; ++sector)
      unsynced_.insert(sector);
  }

  void grow(std::uint64_t end) override {
    require(end >= issued_.size(), "no growth backwards: grow made the file shorter");
    issued_.resize(end);
    changed_ = true;
  }

  void resize(std::uint64_t end, bool closing) override {
    require(closing, "no growth backwards: the file was resized before close");
    require(free_durable_ * kSectorSize <= end,
            "free sector: the file was cut before it was durably lowered");
    for (const std::uint64_t sector : named_sectors())
      require((sector + 1) * kSectorSize <= end, "no growth backwards: the cut hits a grain");
    issued_.resize(end);
    cut_ = true;
  }

  void punch(std::uint64_t begin, std::uint64_t length) override {
    require(mark_durable_, "mark: space was punched before it");
    const auto hit = durable_.lower_bound(begin / kSectorSize);
    require(hit == durable_.end() || *hit * kSectorSize >= begin + length,
            "reuse: a grain was punched that a durable table names");
    issued_.punch(begin, length);
  }

  void sync() override {
    unsynced_.clear();
    names_unsynced_ = false;
    durable_ = named_sectors();
    synced_size_ = issued_.size();
    free_durable_ = load(kCowdFreeSectorAt);
    // A crash may have left it there.
    require(free_durable_ * kSectorSize <= synced_size_ || free_durable_ == free_at_start_,
            "free sector: durable behind the end of the file");
    mark_durable_ = marked_;
    changed_ = cut_ = false;
  }

  bool all_durable() const noexcept override { return !changed_ && !cut_; }

  bool is_marked() const noexcept override { return marked_; }

 private:
  struct Table {
    std::uint64_t sector = 0;
    std::vector<std::uint32_t> entries;
  };

  std::uint32_t load(std::uint64_t at) const {
    std::array<std::byte, 4> bytes{};
    issued_.read(at, bytes);
    return load_le32(bytes, 0);
  }

  std::vector<std::uint32_t> entries_at(std::uint64_t sector) const {
    std::vector<std::uint32_t> entries(kEntries);
    issued_.read(sector * kSectorSize, std::as_writable_bytes(std::span(entries)));
    return entries;
  }

  // Everything that a reader would find, tables included.
  std::set<std::uint64_t> named_sectors() const {
    std::set<std::uint64_t> sectors;
    for (const auto& [number, table] : tables_) {
      for (std::uint64_t i = 0; i < kTableBytes / kSectorSize; ++i)
        sectors.insert(table.sector + i);
      for (const std::uint32_t entry : table.entries)
        if (entry != 0)
          sectors.insert(entry);
    }
    return sectors;
  }

  void write_mark(bool closing) {
    marked_ = load(kCowdUncleanAt) != 0;
    if (marked_)
      return;
    require(closing, "mark: taken away before close");
    require(unsynced_.empty() && !names_unsynced_, "mark: taken away before all was durable");
  }

  void write_free_sector(bool closing) {
    const std::uint64_t free = load(kCowdFreeSectorAt);
    require(closing || free >= free_durable_, "free sector: lowered before close");
    for (const std::uint64_t sector : named_sectors())
      require(sector < free, "free sector: before the end of what is named");
  }

  // A sector that is about to be named: whole on stable storage, before the free sector.
  void require_sound(std::uint64_t sector) const {
    require((sector + 1) * kSectorSize <= synced_size_,
            "grain before entry: the file is not that long yet");
    require(!unsynced_.contains(sector), "grain before entry: no sync covers the grain");
    require(sector < free_durable_, "free sector: something behind it was named");
  }

  void require_sound_entries(const std::vector<std::uint32_t>& old,
                             const std::vector<std::uint32_t>& now) const {
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (now[i] == 0 || now[i] == old[i])
        continue;
      require_sound(now[i]);
      require(!durable_.contains(now[i]), "reuse: a durable table names the grain's space");
    }
  }

  void name_tables(const LogEntry& entry) {
    names_unsynced_ = true;
    for (std::uint64_t at = entry.offset; at < entry.offset + entry.length; at += 4) {
      const std::uint32_t sector = load(at);
      require(sector != 0, "table before name: a table was taken away");
      Table table{sector, entries_at(sector)};
      for (std::uint64_t i = 0; i < kTableBytes / kSectorSize; ++i) {
        require(!unsynced_.contains(sector + i), "table before name: no sync covers the table");
        require_sound(sector + i);
      }
      const std::uint64_t number = (at - directory_) / 4;
      const auto known = tables_.find(number);
      require(known == tables_.end() || known->second.sector == sector,
              "table before name: a table was moved");
      require_sound_entries(std::vector<std::uint32_t>(kEntries), table.entries);
      tables_[number] = std::move(table);
    }
  }

  void change_table(const LogEntry& entry, std::uint64_t /*number*/, Table& table) {
    names_unsynced_ = true;
    require(entry.offset % kSectorSize == 0 && entry.length % kSectorSize == 0,
            "whole sectors: a part of a table sector was written");
    auto now = entries_at(table.sector);
    require_sound_entries(table.entries, now);
    table.entries = std::move(now);
  }

  const std::uint64_t directory_;
  SparseBytes issued_;
  std::uint64_t table_count_ = 0;
  std::map<std::uint64_t, Table> tables_;  // that the directory names, as issued
  std::set<std::uint64_t> unsynced_;       // sectors of grains, and of tables without a name
  std::set<std::uint64_t> durable_;        // named_sectors() at the last sync
  std::uint64_t synced_size_ = 0;
  std::uint64_t free_durable_ = 0;
  std::uint64_t free_at_start_ = 0;
  bool marked_ = false;
  bool mark_durable_ = false;
  bool names_unsynced_ = false;
  bool changed_ = false;
  bool cut_ = false;
};

}  // namespace

std::unique_ptr<ExtentWatch> watch_cowd(const SampleDisk::Extent& extent,
                                        const MemoryFileSystem& initial) {
  return std::make_unique<CowdWatch>(extent, initial);
}

}  // namespace vmdk::test
