// Builds the states of crash points; the part of CrashFileSystem that knows the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/crash_file_system.h"
#include "support/sparse_bytes.h"

namespace vmdk::test {

// What may or may not have arrived: an open log entry or, of a write, its part in one sector.
struct CrashPiece {
  std::size_t index = 0;  // of the log entry
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  // The piece in the same sector that came before, if it is open too: a write, or before a part of
  // a sector a hole.
  std::optional<std::size_t> before = std::nullopt;
};

// By file id; a file that is not named has its present size.
using CrashSizes = std::map<std::uint64_t, std::uint64_t>;

// Stands at one crash point, at first at 0, and goes on to later ones: what is durable is worked
// out once. Not thread-safe. The log must outlive it and stay as it is.
class CrashStateBuilder {
 public:
  CrashStateBuilder(const MemoryFileSystem& initial, std::span<const LogEntry> log);

  // Requires: the point is not before the present one.
  void advance_to(std::size_t point);

  std::span<const CrashPiece> pieces() const { return pieces_; }

  // A sector arrives as it was at some moment: with a piece the earlier pieces of its sector are
  // there too. The same as `arrived` where writes are whole sectors.
  std::vector<bool> with_implied(std::vector<bool> arrived) const;

  // The combinations of file sizes to try when the pieces with arrived[i] arrived: all at their
  // present size, all at their smallest, and each other size of each file. `few`: of each file only
  // the synced size, the one that the arrived pieces need, and the present one.
  std::vector<CrashSizes> size_choices(const std::vector<bool>& arrived, bool few) const;
  std::unique_ptr<MemoryFileSystem> build(const std::vector<bool>& arrived,
                                          const CrashSizes& sizes) const;
  // For messages.
  std::string describe(const std::vector<bool>& arrived, const CrashSizes& sizes) const;

 private:
  struct FileHistory {
    std::string name;
    SparseBytes durable;
    std::uint64_t size = 0;  // present
    // Log index and size afterwards, of each open entry that may change the size.
    std::vector<std::pair<std::size_t, std::uint64_t>> steps;
    bool has_pieces = false;
    bool to_store = false;  // base_ does not have `durable` yet
  };

  void find_durable(std::size_t begin, std::size_t end);
  bool is_durable(std::size_t index) const;
  void replay(std::size_t index);
  void replay_durable(std::size_t index, FileHistory& file);
  void store_durable();
  void add_pieces(std::size_t index);
  void add_hole(std::size_t index);
  FileHistory& history_of(const LogEntry& entry);

  bool shortens(std::size_t index) const { return shortening_.at(index); }

  std::vector<std::uint64_t> sizes_of(std::uint64_t id, const FileHistory& file,
                                      const std::vector<bool>& arrived, bool few) const;
  void apply(const CrashPiece& piece, SparseBytes& content) const;

  const std::span<const LogEntry> log_;
  std::size_t point_ = 0;
  std::vector<std::size_t> open_;           // entries before the point that are not durable
  std::unique_ptr<MemoryFileSystem> base_;  // what is durable
  std::map<std::uint64_t, FileHistory> files_;
  std::map<std::string, std::uint64_t> names_;  // durable: the id behind each name in the log
  std::map<std::string, std::size_t> synced_directories_;  // log index behind the last sync
  std::map<std::uint64_t, std::size_t> synced_files_;
  std::vector<bool> shortening_;  // by log index
  std::vector<CrashPiece> pieces_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> last_;  // file id, sector -> piece
};

}  // namespace vmdk::test
