#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include <vmdk/check.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "disk/chain.h"
#include "disk/file_registry.h"
#include "disk/grain_header.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/link_rules.h"
#include "disk/parent_locator.h"
#include "disk/path_policy.h"
#include "disk/write_guards.h"
#include "extent/grain_directory.h"
#include "extent/open_file.h"
#include "extent/stream_extent.h"
#include "extent/stream_scan.h"
#include "extent/table_cache.h"
#include "extent/table_scan.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFindings = 1000;

OpenOptions with_log(OpenOptions options) {
  if (!options.log)
    options.log = [](LogLevel, std::string_view) {};
  return options;
}

// An uncompressed extent with grains as the check sees it.
struct SparseFile {
  OpenFile* file = nullptr;
  GrainLayout layout;
  std::uint64_t bytes = 0;  // of the disk
  TableScan scan;
  bool unclean = false;
  std::uint64_t mark_at = kUncleanMarkOffset;  // byte of the file
  std::size_t mark_bytes = 1;
  bool tables_on_demand = false;
  std::optional<std::uint32_t> free_sector;  // COWD
  std::uint64_t file_size = 0;

  bool lacks_tables() const { return !tables_on_demand && layout.directory.has_missing_tables(); }

  HalfNamed half_named() const { return layout.directory.half_named(layout.data_begin); }

  // The last grain, which the end of the disk may cut, need not be whole in the file.
  bool is_free_sector_low() const {
    return *free_sector * kSectorSize < std::min(scan.highest_end, file_size);
  }

  bool is_free_sector_high() const {
    return *free_sector * kSectorSize > std::max(scan.highest_end, file_size);
  }

  // What differs between the copies is what a commit left that was cut short.
  bool is_interrupted() const {
    return unclean && scan.redundant_damaged == 0 && half_named() != HalfNamed::kOther;
  }
};

class Checker {
 public:
  Checker(FileSystem& file_system, const CheckOptions& options)
      : file_system_(file_system),
        options_(options),
        open_options_(with_log(options.open)),
        policy_(file_system, open_options_.allow_dirs, open_options_.allow_devices),
        files_(open_options_.share, open_options_.log) {}

  Result<CheckReport> run(const fs::path& image) {
    policy_.allow(folder_of(image));
    for (const auto& parent : open_options_.parents)
      policy_.allow(folder_of(parent));
    for (const auto& folder : open_options_.search_dirs)
      policy_.allow(folder);
    ParentLocator locator(file_system_, policy_, open_options_);
    const Access access = repairs() ? Access::kReadWrite : Access::kReadOnly;
    ASSIGN_OR_RETURN(auto file, open_image(file_system_, image, access));
    auto found = read_image_text(*file);
    if (!found)
      return without_text(image, std::move(found).error());
    ImageText& text = *found;
    if (repairs() && !open_options_.force_stale_lck)
      RETURN_IF_ERROR(require_no_vmware_locks(file_system_, real_path(image), text.descriptor));
    ASSIGN_OR_RETURN(OpenFile * top, files_.adopt(std::move(file), access));
    RETURN_IF_ERROR(check_link(image, *top, text, access));
    if (repairs())
      RETURN_IF_ERROR(repair(image, *top, text));
    const CheckedLayer own = report_.layers.front();
    report_.allocated_grains = own.allocated_grains;
    report_.total_grains = own.total_grains;
    report_.unused_bytes = own.unused_bytes;
    if (options_.chain)
      RETURN_IF_ERROR(check_parents(image, std::move(text), locator));
    return std::move(report_);
  }

 private:
  CheckedLayer& layer() noexcept { return report_.layers.back(); }

  bool repairs() const noexcept { return options_.repair || options_.repair_tables; }

  // A damaged header is the same finding in the image's own file as in another.
  Result<CheckReport> without_text(const fs::path& image, Error error) {
    if (error.code() != ErrorCode::kCorrupt)
      return error;
    add(Severity::kDamage, image.native(), error.message());
    if (repairs())
      note_repair("nothing was changed: the image is damaged");
    return std::move(report_);
  }

  void add(Severity severity, const std::string& file, std::string text) {
    // The finding names the file already.
    if (const std::string prefix = file + ": "; text.starts_with(prefix))
      text.erase(0, prefix.size());
    if (severity == Severity::kDamage)
      ++report_.damage_count;
    if (severity == Severity::kLeak)
      ++report_.leak_count;
    if (report_.findings.size() < kMaxFindings)
      report_.findings.push_back({severity, file, std::move(text)});
  }

  Status check_parents(fs::path path, ImageText text, ParentLocator& locator) {
    std::vector<FileId> seen;
    for (std::size_t depth = 1; text.descriptor.parent_cid(); ++depth) {
      auto parent = locator.find(path, text.descriptor);
      if (!parent && parent.error().code() != ErrorCode::kNotFound &&
          parent.error().code() != ErrorCode::kStaleParent)
        return std::move(parent).error();
      if (!parent) {
        add(Severity::kDamage, path.native(), parent.error().message());
        return {};
      }
      const FileId id = parent->file->id();
      if (depth == kMaxChainDepth || std::find(seen.begin(), seen.end(), id) != seen.end()) {
        add(Severity::kDamage, path.native(), "the chain of parents does not end");
        return {};
      }
      seen.push_back(id);
      ASSIGN_OR_RETURN(OpenFile * file, files_.adopt(std::move(parent->file), Access::kReadOnly));
      RETURN_IF_ERROR(check_link(parent->path, *file, parent->text, Access::kReadOnly));
      path = std::move(parent->path);
      text = std::move(parent->text);
    }
    return {};
  }

  Status check_link(const fs::path& path, OpenFile& top, const ImageText& text, Access access) {
    sparse_.clear();
    report_.layers.emplace_back().file = path.native();
    RETURN_IF_ERROR(judge(path, text.descriptor));
    std::vector<FileRange> ranges;
    for (const ExtentLine& line : text.descriptor.extents()) {
      if (line.type == ExtentType::kZero || line.access == ExtentAccess::kNoAccess)
        continue;
      OpenFile* extent = &top;
      if (!text.is_extent) {
        auto named = policy_.open_extent(folder_of(path), line.file_name,
                                         text.descriptor.in_utf8(line.file_name), access);
        if (!named && named.error().code() != ErrorCode::kNotFound)
          return std::move(named).error().with_context(
              fmt::format("{}: extent in line {}", path.native(), line.line_number));
        if (!named) {
          add(Severity::kDamage, path.native(),
              fmt::format("line {}: {}", line.line_number, named.error().message()));
          continue;
        }
        if (const auto other = require_other_file(path, line, top.file(), **named); !other) {
          add(Severity::kDamage, path.native(), other.error().message());
          continue;
        }
        ASSIGN_OR_RETURN(extent, files_.adopt(std::move(*named), access));
      }
      const bool sparse = has_grains(line.type);
      const bool known = std::any_of(ranges.begin(), ranges.end(),
                                     [&](const FileRange& range) { return range.file == extent; });
      const std::uint64_t begin = line.offset.count() * kSectorSize;
      ranges.push_back({extent, sparse ? 0 : begin,
                        sparse ? ~std::uint64_t{0} : begin + line.length.count() * kSectorSize,
                        line.line_number});
      if (sparse && known)
        continue;  // told below
      RETURN_IF_ERROR(sparse ? check_sparse(line, *extent) : check_flat(line, *extent));
    }
    if (const auto distinct = require_disjoint(path, std::move(ranges)); !distinct)
      add(Severity::kDamage, path.native(), distinct.error().message());
    return {};
  }

  // A kind that is not served cannot be checked; a descriptor that contradicts itself is damage.
  Status judge(const fs::path& path, const Descriptor& descriptor) {
    Status status = judge_link(path, descriptor, Access::kReadOnly, open_options_, policy_);
    if (status || status.error().code() == ErrorCode::kUnsupported)
      return status;
    add(Severity::kDamage, path.native(), status.error().message());
    return {};
  }

  Status check_flat(const ExtentLine& line, OpenFile& file) {
    ASSIGN_OR_RETURN(const std::uint64_t size, file.file().size());
    ASSIGN_OR_RETURN(const std::uint64_t length, line.length.to_bytes());
    ASSIGN_OR_RETURN(const std::uint64_t offset, line.offset.to_bytes());
    if (size < offset || size - offset < length)
      add(Severity::kDamage, file.name(),
          fmt::format("cut: it has {} bytes, its line needs {}", size, offset + length));
    return {};
  }

  // Damage of the header or the directories ends the check of this extent, not of the image.
  Status note_damage(const OpenFile& file, const Error& error) {
    if (error.code() == ErrorCode::kIo || error.code() == ErrorCode::kUnsupported)
      return error;
    add(Severity::kDamage, file.name(), error.message());
    return {};
  }

  Status check_sparse(const ExtentLine& line, OpenFile& file) {
    const auto header = read_grain_header(file.file());
    if (!header)
      return note_damage(file, header.error());
    if (capacity_of(*header) < line.length)
      return note_damage(
          file, Error::make(ErrorCode::kCorrupt,
                            fmt::format("its header's capacity is {} sectors, its line says {}",
                                        capacity_of(*header).count(), line.length.count())));
    SparseFile sparse;
    sparse.file = &file;
    ASSIGN_OR_RETURN(sparse.file_size, file.file().size());
    ASSIGN_OR_RETURN(sparse.bytes, line.length.to_bytes());
    return std::visit([&](const auto& kind) { return check_kind(kind, std::move(sparse)); },
                      *header);
  }

  Status check_kind(const SparseHeader& header, SparseFile sparse) {
    if (header.is_compressed())
      return check_stream(*sparse.file, header, sparse);
    sparse.unclean = header.unclean;
    return check_tables(header, std::move(sparse));
  }

  Status check_kind(const CowdHeader& header, SparseFile sparse) {
    sparse.unclean = header.unclean;
    sparse.mark_at = kCowdUncleanMarkOffset;
    sparse.mark_bytes = 4;
    sparse.tables_on_demand = true;
    sparse.free_sector = header.free_sector;
    return check_tables(header, std::move(sparse));
  }

  Status check_kind(const SeSparseHeader& header, SparseFile sparse) {
    sparse.tables_on_demand = true;
    if (auto valid = validate_against_file(header, sparse.file_size); !valid)
      return note_damage(*sparse.file, valid.error());
    const auto dirty = has_dirty_journal(sparse.file->file(), header);
    if (!dirty)
      return note_damage(*sparse.file, dirty.error());
    if (*dirty)
      add(Severity::kLeak, sparse.file->name(),
          "its journal holds changes that its tables do not have yet");
    return check_tables(header, std::move(sparse));
  }

  template <class Header>
  Status check_tables(const Header& header, SparseFile sparse) {
    const File& file = sparse.file->file();
    if (auto valid = validate_against_file(header, sparse.file_size); !valid)
      return note_damage(*sparse.file, valid.error());
    if (header.table_count() > TableCache::kMaxKnownTables)
      return Error::make(ErrorCode::kUnsupported,
                         fmt::format("{}: has more than {} grain tables", sparse.file->name(),
                                     TableCache::kMaxKnownTables));
    auto directory = read_grain_directory(file, header, sparse.file_size);
    if (!directory)
      return note_damage(*sparse.file, directory.error());
    sparse.layout = layout_of(header, std::move(*directory), sparse.bytes);
    ASSIGN_OR_RETURN(sparse.scan,
                     scan_tables(file, sparse.layout, sparse.bytes, options_.progress));
    report_sparse(sparse);
    sparse_.push_back(std::move(sparse));
    return {};
  }

  Status check_stream(const OpenFile& file, const SparseHeader& named, const SparseFile& sparse) {
    // What counts may be the footer.
    const auto header = read_stream_header(file.file(), named);
    if (!header)
      return note_damage(file, header.error());
    const auto directory = read_grain_directory(file.file(), *header, sparse.file_size);
    if (!directory)
      return note_damage(file, directory.error());
    return check_records(file, *header, *directory, sparse.bytes);
  }

  Status check_records(const OpenFile& file, const SparseHeader& header,
                       const GrainDirectory& directory, std::uint64_t bytes) {
    ASSIGN_OR_RETURN(const StreamScan scan,
                     scan_stream(file.file(), header, directory, bytes, options_.progress));
    for (const std::string& finding : scan.findings)
      add(Severity::kDamage, file.name(), finding);
    report_.damage_count += scan.damaged - scan.findings.size();
    layer().allocated_grains += scan.data_grains;
    layer().total_grains += ceil_div(bytes, header.grain_bytes());
    return {};
  }

  void report_sparse(const SparseFile& sparse) {
    const std::string& name = sparse.file->name();
    const TableScan& scan = sparse.scan;
    for (const std::string& finding : scan.findings)
      add(Severity::kDamage, name, finding);
    report_.damage_count += scan.damaged - scan.findings.size();
    if (sparse.lacks_tables())
      add(Severity::kNote, name, "some grain tables are missing; their grains read as holes");
    report_copies(sparse);
    report_free_sector(sparse);
    if (sparse.unclean)
      add(Severity::kLeak, name, "was not closed cleanly (its header carries the mark)");
    // Under a clear mark it is only unused: a window's rest, or a hole left by a discard.
    if (sparse.unclean && scan.unused_bytes != 0)
      add(Severity::kLeak, name,
          fmt::format("{} bytes are used by no grain: leaked", scan.unused_bytes));
    layer().unused_bytes += scan.unused_bytes;
    layer().allocated_grains += scan.data_grains;
    layer().total_grains += sparse.layout.grain_count;
  }

  // Nothing of ours reads it, but ESX puts the next grain there.
  void report_free_sector(const SparseFile& sparse) {
    if (!sparse.free_sector || !sparse.scan.sound())
      return;
    if (sparse.is_free_sector_low())
      add(Severity::kLeak, sparse.file->name(),
          fmt::format("its free sector {} lies before the end of its grains, sector {}",
                      *sparse.free_sector, sparse.scan.highest_end / kSectorSize));
    else if (sparse.is_free_sector_high())
      add(Severity::kLeak, sparse.file->name(),
          fmt::format("its free sector {} lies behind the end of the file", *sparse.free_sector));
  }

  void report_copies(const SparseFile& sparse) {
    const TableScan& scan = sparse.scan;
    if (scan.unequal == 0)
      return;
    if (sparse.is_interrupted() && scan.sound()) {
      add(Severity::kLeak, sparse.file->name(),
          fmt::format(
              "a commit was interrupted: the copies of the grain tables differ in {} entries",
              scan.unequal));
      return;
    }
    for (const std::string& finding : scan.copy_findings)
      add(Severity::kDamage, sparse.file->name(), finding);
    report_.damage_count += scan.unequal - scan.copy_findings.size();
    if (can_equalise(sparse))
      add(Severity::kNote, sparse.file->name(), "--repair=tables makes the copies equal");
  }

  // Mends what can be mended without a guess, then checks again: the report tells what is left.
  Status repair(const fs::path& image, OpenFile& top, const ImageText& text) {
    if (report_.damage_count != 0 && !options_.repair_tables) {
      note_repair("nothing was changed: the image is damaged");
      return {};
    }
    for (SparseFile& sparse : sparse_)
      RETURN_IF_ERROR(repair_sparse(sparse));
    const std::vector<std::string> repairs = std::exchange(report_, {}).repairs;
    RETURN_IF_ERROR(check_link(image, top, text, Access::kReadWrite));
    report_.repairs = repairs;
    return {};
  }

  void note_repair(std::string text) { report_.repairs.push_back(std::move(text)); }

  static bool can_equalise(const SparseFile& sparse) {
    return sparse.scan.sound() && has_whole_copies(sparse);
  }

  static bool has_whole_copies(const SparseFile& sparse) {
    return sparse.layout.directory.has_redundant() && sparse.half_named() == HalfNamed::kNone;
  }

  // Tables that were being added when their commit was cut short are missing again.
  Status take_back_half_named(SparseFile& sparse) {
    if (sparse.half_named() != HalfNamed::kByCommit || !sparse.is_interrupted() ||
        !sparse.scan.sound())
      return {};
    GrainDirectory& directory = sparse.layout.directory;
    directory.drop_half_named();
    RETURN_IF_ERROR(drop_names(*sparse.file, directory));
    RETURN_IF_ERROR(sparse.file->sync());
    note_repair(
        fmt::format("{}: {} grain tables that an interrupted commit was adding were taken "
                    "out of the redundant directory",
                    sparse.file->name(), directory.dropped.size()));
    ASSIGN_OR_RETURN(sparse.scan, scan_tables(sparse.file->file(), sparse.layout, sparse.bytes,
                                              options_.progress));
    return {};
  }

  Status repair_sparse(SparseFile& sparse) {
    RETURN_IF_ERROR(take_back_half_named(sparse));
    if (sparse.scan.unequal != 0) {
      ASSIGN_OR_RETURN(const bool equal, equalise(sparse));
      if (!equal)
        return {};
    }
    if (!sparse.scan.sound())
      return {};
    RETURN_IF_ERROR(mend_free_sector(sparse));
    RETURN_IF_ERROR(give_back_unused(sparse));
    if (!sparse.unclean)
      return {};
    const std::array<std::byte, 4> clean{};
    const iovec part = part_of(std::span(clean).first(sparse.mark_bytes));
    RETURN_IF_ERROR(sparse.file->write(FileOffset(sparse.mark_at), {&part, 1}));
    RETURN_IF_ERROR(sparse.file->sync());
    note_repair(
        fmt::format("{}: the mark of an unfinished session was taken away", sparse.file->name()));
    return {};
  }

  // Before the file is cut: its free sector never lies behind its end. A short last grain is made
  // whole, so that the next one lies behind it.
  Status mend_free_sector(SparseFile& sparse) {
    const std::uint64_t wanted = sparse.scan.highest_end / kSectorSize;
    if (!sparse.free_sector || *sparse.free_sector == wanted)
      return {};
    if (!sparse.is_free_sector_low() && !sparse.is_free_sector_high() && !sparse.unclean)
      return {};
    if (wanted > kCowdLastFreeSector) {
      note_repair(fmt::format("{}: its free sector was left as it is: it cannot say {}",
                              sparse.file->name(), wanted));
      return {};
    }
    if (sparse.file_size < sparse.scan.highest_end) {
      RETURN_IF_ERROR(sparse.file->resize(sparse.scan.highest_end));
      RETURN_IF_ERROR(sparse.file->sync());
      sparse.file_size = sparse.scan.highest_end;
    }
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, static_cast<std::uint32_t>(wanted));
    const iovec part = part_of(bytes);
    RETURN_IF_ERROR(sparse.file->write(FileOffset(kCowdFreeSectorOffset), {&part, 1}));
    RETURN_IF_ERROR(sparse.file->sync());
    note_repair(fmt::format("{}: its free sector was set to {}", sparse.file->name(), wanted));
    return {};
  }

  // Makes the copies equal, by the primary when it is sound, else (only when asked for tables) by a
  // redundant one that is.
  Result<bool> equalise(SparseFile& sparse) {
    if (can_equalise(sparse) && (sparse.is_interrupted() || options_.repair_tables)) {
      RETURN_IF_ERROR(copy_tables(sparse, sparse.layout.directory));
      note_repair(fmt::format("{}: {} redundant grain tables were made equal to the primary ones",
                              sparse.file->name(), sparse.scan.unequal_tables.size()));
      return true;
    }
    if (!options_.repair_tables || !has_whole_copies(sparse)) {
      note_repair(fmt::format("{}: the copies of its grain tables were left as they are",
                              sparse.file->name()));
      return false;
    }
    GrainLayout swapped = sparse.layout;
    std::swap(swapped.directory.primary, swapped.directory.redundant);
    ASSIGN_OR_RETURN(TableScan other,
                     scan_tables(sparse.file->file(), swapped, sparse.bytes, options_.progress));
    if (!other.sound()) {
      note_repair(
          fmt::format("{}: both copies of its grain tables are damaged; nothing was changed",
                      sparse.file->name()));
      return false;
    }
    RETURN_IF_ERROR(copy_tables(sparse, swapped.directory));
    note_repair(fmt::format("{}: {} primary grain tables were made equal to the redundant ones",
                            sparse.file->name(), sparse.scan.unequal_tables.size()));
    sparse.scan = std::move(other);
    return true;
  }

  static Status copy_tables(const SparseFile& sparse, const GrainDirectory& directory) {
    RETURN_IF_ERROR(copy_primary_tables(*sparse.file, directory, sparse.scan.unequal_tables));
    return sparse.file->sync();
  }

  // Cuts the unused end and gives the unused inside back to the host.
  Status give_back_unused(const SparseFile& sparse) {
    if (!sparse.unclean || sparse.scan.unused_bytes == 0 || sparse.lacks_tables())
      return {};
    ASSIGN_OR_RETURN(const std::uint64_t size, sparse.file->file().size());
    if (size > sparse.scan.highest_end)
      RETURN_IF_ERROR(sparse.file->resize(sparse.scan.highest_end));
    for (const UnusedRange& range : sparse.scan.unused) {
      if (range.begin >= sparse.scan.highest_end)
        break;
      if (!sparse.file->punch_hole(FileOffset(range.begin), range.length))
        break;  // the host cannot; the space stays unused until new grains take it
    }
    RETURN_IF_ERROR(sparse.file->sync());
    note_repair(fmt::format("{}: {} unused bytes were given back", sparse.file->name(),
                            sparse.scan.unused_bytes));
    return {};
  }

  FileSystem& file_system_;
  const CheckOptions& options_;
  const OpenOptions open_options_;
  PathPolicy policy_;
  FileRegistry files_;
  std::vector<SparseFile> sparse_;  // of the link that is being checked
  CheckReport report_;
};

}  // namespace

int CheckReport::exit_code() const noexcept {
  constexpr int kClean = 0;
  constexpr int kDamaged = 2;
  constexpr int kLeaks = 3;
  if (damage_count != 0)
    return kDamaged;
  return leak_count != 0 ? kLeaks : kClean;
}

Result<CheckReport> check_image(FileSystem& file_system, const std::filesystem::path& image,
                                const CheckOptions& options) {
  return Checker(file_system, options).run(image);
}

}  // namespace vmdk
