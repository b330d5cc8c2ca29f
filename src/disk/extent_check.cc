#include "disk/extent_check.h"

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "base/checked_math.h"
#include "disk/grain_header.h"
#include "extent/grain_directory.h"
#include "extent/stream_extent.h"
#include "extent/stream_scan.h"
#include "extent/table_cache.h"
#include "extent/table_scan.h"
#include "extent/written_kinds.h"

namespace vmdk {
namespace {

using Checked = std::optional<CheckedExtent>;

constexpr std::string_view kReadOnlyLineIsIdle =
    "extents that the descriptor calls RDONLY are not changed";
constexpr std::string_view kStreamIsIdle =
    "streamOptimized extents are written once, from beginning to end: there is no space to give "
    "back, and damage is not mended in place (vmdkfuse --salvage reads what is sound)";

template <class Header>
std::string why_idle(const Header& header) {
  const std::string why = why_not_written(header);
  return why.empty() ? why : why + ": nothing is repaired";
}

template <>
std::string why_idle(const SeSparseHeader& header) {
  return why_not_written(header) + ": how their free grains are kept is known to ESX hosts alone";
}

class ExtentChecker {
 public:
  ExtentChecker(const ExtentLine& line, OpenFile& file, Findings& findings,
                const Progress& progress)
      : line_(line), file_(file), findings_(findings), progress_(progress) {}

  Result<Checked> run() {
    const auto header = read_grain_header(file_.file());
    if (!header)
      return damaged(header.error());
    if (capacity_of(*header) < line_.length)
      return damaged(Error::make(
          ErrorCode::kCorrupt, fmt::format("its header's capacity is {} sectors, its line says {}",
                                           capacity_of(*header).count(), line_.length.count())));
    if (is_line_short(*header, line_.length))
      findings_.add(
          Severity::kNote, file_.name(),
          fmt::format("its header's capacity is {} sectors, its line says {}: the line counts",
                      capacity_of(*header).count(), line_.length.count()));
    extent_.file = &file_;
    ASSIGN_OR_RETURN(extent_.file_size, file_.file().size());
    ASSIGN_OR_RETURN(extent_.bytes, line_.length.to_bytes());
    return std::visit([this](const auto& kind) { return check_kind(kind); }, *header);
  }

 private:
  Result<Checked> damaged(const Error& error) {
    if (error.code() == ErrorCode::kIo || error.code() == ErrorCode::kUnsupported)
      return error;
    findings_.add(Severity::kDamage, file_.name(), error.message());
    return Checked();
  }

  Result<Checked> check_kind(const SparseHeader& header) {
    if (header.is_compressed())
      return check_stream(header);
    extent_.unclean = header.unclean;
    return check_tables(header);
  }

  Result<Checked> check_kind(const CowdHeader& header) {
    extent_.unclean = header.unclean;
    extent_.mark_at = kCowdUncleanMarkOffset;
    extent_.mark_bytes = 4;
    extent_.tables_on_demand = true;
    extent_.free_sector = header.free_sector;
    return check_tables(header);
  }

  Result<Checked> check_kind(const SeSparseHeader& header) {
    extent_.tables_on_demand = true;
    if (auto valid = validate_against_file(header, extent_.file_size); !valid)
      return damaged(valid.error());
    const auto dirty = has_dirty_journal(file_.file(), header);
    if (!dirty)
      return damaged(dirty.error());
    if (*dirty)
      findings_.add(Severity::kLeak, file_.name(),
                    "its journal holds changes that its tables do not have yet");
    return check_tables(header);
  }

  template <class Header>
  Result<Checked> check_tables(const Header& header) {
    if (auto valid = validate_against_file(header, extent_.file_size); !valid)
      return damaged(valid.error());
    if (header.table_count() > TableCache::kMaxKnownTables)
      return TableCache::too_many_tables(file_.name());
    auto directory = read_grain_directory(file_.file(), header, extent_.file_size);
    if (!directory)
      return damaged(directory.error());
    extent_.layout = layout_of(header, std::move(*directory), extent_.bytes);
    ASSIGN_OR_RETURN(extent_.scan,
                     scan_tables(file_.file(), extent_.layout, extent_.bytes, progress_));
    report_tables();
    std::string idle = why_idle(header);
    if (idle.empty() && line_.access != ExtentAccess::kReadWrite)
      idle = kReadOnlyLineIsIdle;
    if (idle.empty())
      return Checked(std::move(extent_));
    findings_.add_idle(idle);
    return Checked();
  }

  Result<Checked> check_stream(const SparseHeader& named) {
    findings_.add_idle(kStreamIsIdle);
    // What counts may be the footer.
    const auto header = read_stream_header(file_.file(), named);
    if (!header)
      return damaged(header.error());
    const auto directory = read_grain_directory(file_.file(), *header, extent_.file_size);
    if (!directory)
      return damaged(directory.error());
    ASSIGN_OR_RETURN(const StreamScan scan,
                     scan_stream(file_.file(), *header, *directory, extent_.bytes, progress_));
    findings_.add_damage(file_.name(), scan.findings, scan.damaged);
    findings_.layer().allocated_grains += scan.data_grains;
    findings_.layer().total_grains += ceil_div(extent_.bytes, header->grain_bytes());
    return Checked();
  }

  void report_tables() {
    const TableScan& scan = extent_.scan;
    findings_.add_damage(file_.name(), scan.findings, scan.damaged);
    if (extent_.lacks_tables())
      findings_.add(Severity::kNote, file_.name(),
                    "some grain tables are missing; their grains read as holes");
    report_copies();
    report_free_sector();
    if (extent_.unclean)
      findings_.add(Severity::kLeak, file_.name(),
                    "was not closed cleanly (its header carries the mark)");
    // Under a clear mark it is only unused: a window's rest, or a hole left by a discard.
    if (extent_.unclean && scan.unused_bytes != 0)
      findings_.add(Severity::kLeak, file_.name(),
                    fmt::format("{} bytes are used by no grain: leaked", scan.unused_bytes));
    CheckedLayer& layer = findings_.layer();
    layer.unused_bytes += scan.unused_bytes;
    layer.allocated_grains += scan.data_grains;
    layer.total_grains += extent_.layout.grain_count;
  }

  void report_copies() {
    const TableScan& scan = extent_.scan;
    if (scan.unequal == 0)
      return;
    if (extent_.is_interrupted()) {
      findings_.add(
          Severity::kLeak, file_.name(),
          fmt::format(
              "a commit was interrupted: the copies of the grain tables differ in {} entries",
              scan.unequal));
      return;
    }
    findings_.add_damage(file_.name(), scan.copy_findings, scan.unequal);
    findings_.add(Severity::kNote, file_.name(),
                  "--repair --dry-run tells whether one copy of its tables can mend the other");
  }

  // Nothing of ours reads it, but ESX puts the next grain there.
  void report_free_sector() {
    if (!extent_.free_sector || !extent_.scan.sound())
      return;
    if (extent_.is_free_sector_low())
      findings_.add(Severity::kLeak, file_.name(),
                    fmt::format("its free sector {} lies before the end of its grains, sector {}",
                                *extent_.free_sector, extent_.scan.highest_end / kSectorSize));
    else if (extent_.is_free_sector_high())
      findings_.add(
          Severity::kLeak, file_.name(),
          fmt::format("its free sector {} lies behind the end of the file", *extent_.free_sector));
  }

  const ExtentLine& line_;
  OpenFile& file_;
  Findings& findings_;
  const Progress& progress_;
  CheckedExtent extent_;
};

}  // namespace

Result<std::optional<CheckedExtent>> check_extent(const ExtentLine& line, OpenFile& file,
                                                  Findings& findings, const Progress& progress) {
  return ExtentChecker(line, file, findings, progress).run();
}

}  // namespace vmdk
