// A VMware disk: one image and, beneath it, its parents, shown as one flat range of bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

enum class LogLevel { kInfo, kWarning, kError };
// Receives one-line messages without a line end; called from any thread.
using LogSink = std::function<void(LogLevel, std::string_view)>;

// Where writes go when the image is to stay as it is: to a sparse child of it.
struct Overlay {
  // Made when it is not there, else continued, if it is a child of the image.
  std::filesystem::path file;
  // When `file` is empty: the folder of a child without a name. Nobody else sees it, and it goes
  // with the Disk or with the process, however that ends.
  std::filesystem::path scratch_dir;
};

struct OpenOptions {
  Access access = Access::kReadWrite;
  // With kReadWrite: the image and its parents are opened for reading only.
  std::optional<Overlay> overlay;
  // With kReadOnly: show the disk as of an older link of the chain: its number, counted from the
  // base, which is 0 (or "base"), or the name of its file. Empty: the image itself.
  std::string layer;
  // With kReadOnly or an overlay: open a disk that is damaged or not all there. What is not known
  // for sure reads as EIO, never as zeros; DiskInfo::salvaged lists what was done.
  bool salvage = false;
  // With kReadOnly: open although somebody else writes; the view may be torn.
  bool share = false;
  // Write to an image although another one in its folder names it as its parent.
  bool force_children = false;
  // Write although a VMware lock folder (`NAME.lck`) is there.
  bool force_stale_lck = false;
  // Write to a hosted sparse image although some of its grain tables are missing: they are added
  // behind the data, where VMware's programs do not look for tables.
  bool force_tables = false;
  // With kReadOnly: read an SESparse extent although its journal holds changes that its tables do
  // not have yet; they are not shown.
  bool force_journal = false;
  // Write to a disk with change tracking, which ends with the first write.
  bool drop_change_tracking = false;
  // Extents may be block devices of this host, named by their path beneath /dev.
  bool allow_devices = false;
  // With kReadOnly: accept a parent whose content id is not the one the child names.
  bool ignore_cid = false;
  // Folders, besides those of the files the user named, beneath which named files may be opened.
  std::vector<std::filesystem::path> allow_dirs;
  // Files to use as the next missing parents, topmost child first.
  std::vector<std::filesystem::path> parents;
  // Folders in which a parent is looked for by its name, after the usual places.
  std::vector<std::filesystem::path> search_dirs;
  // Grains reserved ahead for a sequential stream of writes, 1 to 512.
  std::uint32_t batch_grains = 512;
  // Memory for grain tables of the whole chain, bytes. Tables of running requests may exceed it.
  std::uint64_t table_cache = 256 * kMiB;
  // Lazily held tables are committed at least this often; zero: only by flush() and close().
  std::chrono::milliseconds commit_interval{5000};
  LogSink log;
};

// What `vmdkctl info` and `vmdkfuse -v` say.
struct ExtentInfo {
  std::string access;                // RW, RDONLY, NOACCESS
  std::string type;                  // FLAT, SPARSE, ZERO, VMFS, VMFSSPARSE, SESPARSE
  std::string file;                  // path; empty for ZERO
  std::uint64_t length = 0;          // bytes of the disk
  std::uint64_t file_offset = 0;     // bytes; flat kinds only
  std::uint64_t grain_size = 0;      // bytes; 0 for kinds without grains
  std::uint32_t header_version = 0;  // sparse kinds only; SESPARSE: the whole part of 2.1
  bool zeroed_grains = false;        // an entry can say "a grain of zeros"
  bool compressed = false;           // streamOptimized: read-only
  bool unclean = false;              // its header carries the mark of an unfinished session
};

struct LayerInfo {
  std::string file;
  std::string create_type;
  std::uint32_t cid = 0;
  std::optional<std::uint32_t> parent_cid;  // nullopt: no parent
  std::string parent_hint;
  std::uint64_t capacity = 0;   // bytes
  std::uint64_t allocated = 0;  // bytes on the host, metadata included
  std::vector<ExtentInfo> extents;
  std::string adapter;  // ddb.adapterType; empty: not stated
  // What a machine is told of the disk's sectors, bytes: ddb.logicalSectorSize where it is 4096.
  std::uint64_t logical_sector_size = kSectorSize;
};

struct DiskInfo {
  std::vector<LayerInfo> layers;  // the image first, the base last
  std::optional<Error> broken;    // of look() only: why the last layer is not the base
  // Opened to salvage: what is damaged or missing, and what is shown instead; one line each. The
  // first thousand are kept.
  std::vector<std::string> salvaged;
  std::uint64_t salvaged_count = 0;
};

enum class MapKind {
  kData,  // bytes of a file
  kZero,  // zeros that an image states
  kHole,  // nothing anywhere in the chain: reads as zeros
  // Reads fail with EIO: a NOACCESS extent, a grain entry that cannot be right, or, opened to
  // salvage, what is not there.
  kUnreadable,
};

// A stretch of the disk with one answer.
struct MapRun {
  MapKind kind = MapKind::kHole;
  DiskOffset begin;
  std::uint64_t length = 0;  // bytes
  std::size_t layer = 0;     // 0 is the image; meaningless for kHole
  std::string file;          // kData only
  FileOffset where;          // kData only
  // The bytes are made from compressed grains; `where` is the place of the first of them, and the
  // others need not follow it without a gap.
  bool compressed = false;
};

// All functions may be called from any number of threads at once, except close().
//
// Durability: flush() returning success means that everything written before it is in the image
// files and survives a crash and a power cut. A failed sync poisons the disk: that call, every
// later write and every later flush fail with the same errno; reads go on.
class Disk {
 public:
  // Opens the whole chain. Nothing is written before the first write(), discard() or zero().
  static Result<std::unique_ptr<Disk>> open(FileSystem& file_system,
                                            const std::filesystem::path& image,
                                            OpenOptions options);
  // What is known of an image and of those beneath it, as far as they can be found. Opened for
  // reading, whatever `options` say of it.
  static Result<DiskInfo> look(FileSystem& file_system, const std::filesystem::path& image,
                               OpenOptions options);
  // Logs when something is unwritten; does not flush. Call close().
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  std::uint64_t capacity() const noexcept;  // bytes, a multiple of 512
  bool writable() const noexcept;
  std::uint64_t grain_size()
      const noexcept;  // bytes: of the image's first sparse extent, else 4096
  // Bytes the chain occupies on the host, at most capacity().
  std::uint64_t allocated() const noexcept;
  // The image file's time of change, permission bits; as when it was opened. Over an overlay: those
  // of the overlay and of the image, with the owner's right to write.
  std::int64_t modified_at_open() const noexcept;
  std::uint32_t permissions() const noexcept;
  DiskInfo info() const;

  // Fills `into` from `at`; fewer bytes only at the end of the disk (0 behind it). `layer`, here
  // and below: the disk as that link of the chain and those beneath it show it, counted as in
  // DiskInfo::layers; 0 is the disk itself, and the others never change. Requires: there is one.
  Result<std::size_t> read(DiskOffset at, std::span<std::byte> into, std::size_t layer = 0);
  std::uint64_t layer_capacity(std::size_t layer) const noexcept;  // bytes

  // Writes all of `from`. A range that crosses the end of the disk is kNoSpace, with nothing
  // written. kReadOnly when the disk is not writable.
  Status write(DiskOffset at, std::span<const std::byte> from);

  // Makes the range read as zeros without using space. EOPNOTSUPP (kUnsupported), with nothing
  // changed, where the image cannot say so: over a parent, without zeroed grains.
  Status discard(DiskOffset at, std::uint64_t length);
  // Makes the range read as zeros; writes zeros where discard() could not do it.
  Status zero(DiskOffset at, std::uint64_t length);

  // SEEK_DATA / SEEK_HOLE over the whole chain. next_data: nullopt when only holes follow;
  // next_hole: capacity() when no hole follows. Zeros that an image states count as holes.
  Result<std::optional<DiskOffset>> next_data(DiskOffset from, std::size_t layer = 0);
  Result<DiskOffset> next_hole(DiskOffset from, std::size_t layer = 0);

  // The longest stretch from `at` with one answer, at most `max_length` bytes; both > 0 and inside
  // the disk.
  Result<MapRun> map(DiskOffset at, std::uint64_t max_length);
  // The same of the image alone: what it leaves to its parents is kHole.
  Result<MapRun> map_image(DiskOffset at, std::uint64_t max_length);

  // See "Durability" above. On a disk opened for reading: nothing to do, success.
  Status flush();
  // Starts what flush() does on the committer's thread and returns.
  void request_commit();
  // The first failure that poisoned the disk, or success. No I/O.
  Status sticky_status() const;
  // Called after each commit that wrote something, on the thread that committed. Set it before the
  // first write.
  void on_commit(std::function<void()> callback);
  // The content id that the first write gives the image, in place of a random one; in an image that
  // prints it with fewer digits, as many of the last ones. Call it before the first write.
  void choose_content_id(std::uint32_t cid);

  // flush(), then clears the unclean marks that this open set or healed and cuts unused space at
  // the ends of the files. No other call may be running; afterwards only the destructor may follow.
  Status close();

  // For a caller that could not use the disk, in place of close(): takes an overlay away again that
  // this open made. False: it could not be. Requires: nothing was written.
  bool abandon();

 private:
  class Impl;
  explicit Disk(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmdk
