#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/check.h>

#include "disk/chain.h"
#include "disk/checked_extent.h"
#include "disk/extent_check.h"
#include "disk/file_registry.h"
#include "disk/findings.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/link_rules.h"
#include "disk/parent_locator.h"
#include "disk/path_policy.h"
#include "disk/repair.h"
#include "disk/write_guards.h"
#include "extent/open_file.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

// What is done with the files.
constexpr std::string_view kChecked = "checked";

constexpr std::string_view kFlatIsIdle =
    "flat extents have neither grain tables nor a mark: there is nothing to repair";

OpenOptions with_log(OpenOptions options) {
  if (!options.log)
    options.log = [](LogLevel, std::string_view) {};
  return options;
}

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
    ASSIGN_OR_RETURN(auto file, open_image(file_system_, image, access()));
    ASSIGN_OR_RETURN(OpenFile * top, files_.adopt(std::move(file), access()));
    // Read under the lock: nobody changes it any more.
    auto found = read_image_text(top->file());
    if (!found) {
      RETURN_IF_ERROR(files_.require_unchanged(kChecked));
      return without_text(image, std::move(found).error());
    }
    ImageText& text = *found;
    if (repairs())
      RETURN_IF_ERROR(guard_repair(image, text.descriptor));
    RETURN_IF_ERROR(unless_changed(check_link(image, *top, text, access())));
    if (repairs())
      RETURN_IF_ERROR(repair(image, *top, text));
    if (report_.failure)
      return std::move(report_);
    const CheckedLayer own = report_.layers.front();
    report_.allocated_grains = own.allocated_grains;
    report_.total_grains = own.total_grains;
    report_.unused_bytes = own.unused_bytes;
    if (!options_.chain)
      return std::move(report_);
    auto parents = unless_changed(check_parents(image, std::move(text), locator));
    // What was done must not get lost over them.
    if (!parents && report_.repairs.empty())
      return std::move(parents).error();
    if (!parents)
      report_.failure = std::move(parents).error();
    return std::move(report_);
  }

 private:
  void damage(const fs::path& file, std::string text) {
    findings_.add(Severity::kDamage, file.native(), std::move(text));
  }

  // What seems damaged, or sound, may only be changing.
  Status unless_changed(Status checked) const {
    RETURN_IF_ERROR(files_.require_unchanged(kChecked));
    return checked;
  }

  bool repairs() const noexcept { return options_.repair || options_.repair_tables; }

  // To the image; its parents are only read.
  Access access() const noexcept {
    return repairs() && !options_.dry_run ? Access::kReadWrite : Access::kReadOnly;
  }

  // As for opening it to write. Whether a dry run says so or the repair itself: it is the same.
  Status guard_repair(const fs::path& image, const Descriptor& descriptor) {
    const fs::path real = real_path(image);
    if (!open_options_.force_stale_lck)
      RETURN_IF_ERROR(require_no_vmware_locks(file_system_, real, descriptor));
    if (open_options_.force_children)
      return {};
    auto alone = require_no_children(file_system_, image, descriptor);
    if (!alone)
      return std::move(alone).error().with_hint(
          "--force=children repairs it all the same; its content id stays as it is");
    return {};
  }

  // A damaged header is the same finding in the image's own file as in another.
  Result<CheckReport> without_text(const fs::path& image, Error error) {
    if (error.code() != ErrorCode::kCorrupt)
      return error;
    damage(image, error.message());
    if (repairs())
      report_.repairs.push_back(RepairPlan::damaged_elsewhere(image.native()));
    return std::move(report_);
  }

  Status check_parents(fs::path path, ImageText text, ParentLocator& locator) {
    std::vector<FileId> seen;
    for (std::size_t depth = 1; text.descriptor.parent_cid(); ++depth) {
      auto parent = locator.find(path, text.descriptor);
      if (!parent && parent.error().code() != ErrorCode::kNotFound &&
          parent.error().code() != ErrorCode::kStaleParent)
        return std::move(parent).error();
      if (!parent) {
        damage(path, parent.error().message());
        return {};
      }
      const FileId id = parent->file->id();
      if (depth == kMaxChainDepth || std::find(seen.begin(), seen.end(), id) != seen.end()) {
        damage(path, "the chain of parents does not end");
        return {};
      }
      seen.push_back(id);
      ASSIGN_OR_RETURN(OpenFile * file, adopt(path, std::move(parent->file), Access::kReadOnly));
      if (file == nullptr)
        return {};
      RETURN_IF_ERROR(require_same_text(*file, parent->text.descriptor));
      RETURN_IF_ERROR(check_link(parent->path, *file, parent->text, Access::kReadOnly));
      path = std::move(parent->path);
      text = std::move(parent->text);
    }
    return {};
  }

  // The locator read it before the file was locked.
  static Status require_same_text(const OpenFile& file, const Descriptor& descriptor) {
    const auto locked = read_image_text(file.file());
    if (!locked && locked.error().code() == ErrorCode::kIo)
      return locked.error();
    if (locked && locked->descriptor.text() == descriptor.text())
      return {};
    return Error::make(
        ErrorCode::kBusy,
        fmt::format("{}: was written to while it was being opened as a parent", file.name()));
  }

  Status check_link(const fs::path& path, OpenFile& top, const ImageText& text, Access access) {
    extents_.clear();
    findings_.begin_link(path.native());
    RETURN_IF_ERROR(judge(path, text.descriptor));
    std::vector<FileRange> ranges;
    for (const ExtentLine& line : text.descriptor.extents()) {
      if (line.type == ExtentType::kZero || line.access == ExtentAccess::kNoAccess)
        continue;
      OpenFile* file = &top;
      if (!text.is_extent) {
        ASSIGN_OR_RETURN(file, open_extent(path, line, top, text.descriptor, access));
      }
      if (file == nullptr)
        continue;
      const bool sparse = has_grains(line.type);
      const bool known = std::any_of(ranges.begin(), ranges.end(),
                                     [&](const FileRange& range) { return range.file == file; });
      const std::uint64_t begin = line.offset.count() * kSectorSize;
      ranges.push_back({file, sparse ? 0 : begin,
                        sparse ? ~std::uint64_t{0} : begin + line.length.count() * kSectorSize,
                        line.line_number});
      if (sparse && known)
        continue;  // told below
      RETURN_IF_ERROR(sparse ? check_sparse(line, *file) : check_flat(line, *file));
    }
    if (const auto distinct = require_disjoint(path, std::move(ranges)); !distinct)
      damage(path, distinct.error().message());
    return {};
  }

  // nullptr: it is not there, or is another file than it should be, which is damage of the image.
  Result<OpenFile*> open_extent(const fs::path& path, const ExtentLine& line, const OpenFile& top,
                                const Descriptor& descriptor, Access access) {
    // Only grains have anything that can be repaired.
    if (!has_grains(line.type) || line.access != ExtentAccess::kReadWrite)
      access = Access::kReadOnly;
    auto named = policy_.open_extent(folder_of(path), line.file_name,
                                     descriptor.in_utf8(line.file_name), access);
    if (!named && named.error().code() != ErrorCode::kNotFound)
      return std::move(named).error().with_context(
          fmt::format("{}: extent in line {}", path.native(), line.line_number));
    if (!named) {
      damage(path, fmt::format("line {}: {}", line.line_number, named.error().message()));
      return nullptr;
    }
    if (const auto other = require_other_file(path, line, top.file(), **named); !other) {
      damage(path, other.error().message());
      return nullptr;
    }
    return adopt(path, *std::move(named), access);
  }

  // nullptr: one file is to be written and read only, which is damage of the image at `path`.
  Result<OpenFile*> adopt(const fs::path& path, std::unique_ptr<File> file, Access access) {
    auto adopted = files_.adopt(std::move(file), access);
    if (adopted || adopted.error().code() != ErrorCode::kCorrupt)
      return adopted;
    damage(path, adopted.error().message());
    return nullptr;
  }

  // A kind that is not served cannot be checked; a descriptor that contradicts itself is damage.
  Status judge(const fs::path& path, const Descriptor& descriptor) {
    Status status = judge_link(path, descriptor, Access::kReadOnly, open_options_, policy_);
    if (status || status.error().code() == ErrorCode::kUnsupported)
      return status;
    damage(path, status.error().message());
    return {};
  }

  Status check_sparse(const ExtentLine& line, OpenFile& file) {
    ASSIGN_OR_RETURN(auto extent, check_extent(line, file, findings_, options_.progress));
    if (extent)
      extents_.push_back(*std::move(extent));
    return {};
  }

  Status check_flat(const ExtentLine& line, OpenFile& file) {
    findings_.add_idle(kFlatIsIdle);
    ASSIGN_OR_RETURN(const std::uint64_t size, file.file().size());
    ASSIGN_OR_RETURN(const std::uint64_t length, line.length.to_bytes());
    ASSIGN_OR_RETURN(const std::uint64_t offset, line.offset.to_bytes());
    if (size < offset || size - offset < length)
      damage(file.name(),
             fmt::format("cut: it has {} bytes, its line needs {}", size, offset + length));
    return {};
  }

  // Plans, tells, mends, and checks again: the report tells what is left.
  Status repair(const fs::path& image, OpenFile& top, const ImageText& text) {
    ASSIGN_OR_RETURN(RepairPlan plan, RepairPlan::make(extents_,
                                                       {.image = image.native(),
                                                        .damage = report_.damage_count,
                                                        .may_choose = options_.repair_tables},
                                                       options_.progress));
    report_.repairs = plan.list();
    report_.repairs.insert(report_.repairs.end(), findings_.idle().begin(), findings_.idle().end());
    RETURN_IF_ERROR(files_.require_unchanged(kChecked));
    if (!plan.changes_anything() || options_.dry_run)
      return {};
    if (options_.planned)
      options_.planned(report_);
    if (auto done = plan.carry_out(); !done)
      report_.failure = std::move(done).error();
    std::copy(plan.list().begin(), plan.list().end(), report_.repairs.begin());
    if (report_.failure)
      return {};
    std::vector<Repair> repairs = std::move(report_.repairs);
    report_ = {};
    if (auto checked = check_again(image, top, text); !checked)
      report_.failure = std::move(checked).error();
    report_.repairs = std::move(repairs);
    return {};
  }

  Status check_again(const fs::path& image, OpenFile& top, const ImageText& text) {
    RETURN_IF_ERROR(files_.note_lengths());
    return unless_changed(check_link(image, top, text, access()));
  }

  FileSystem& file_system_;
  const CheckOptions& options_;
  const OpenOptions open_options_;
  PathPolicy policy_;
  FileRegistry files_;
  std::vector<CheckedExtent> extents_;  // of the link that is being checked: what can be repaired
  CheckReport report_;
  Findings findings_{report_};
};

}  // namespace

int CheckReport::exit_code() const noexcept {
  constexpr int kClean = 0;
  constexpr int kStopped = 1;
  constexpr int kDamaged = 2;
  constexpr int kLeaks = 3;
  if (failure)
    return kStopped;
  if (damage_count != 0)
    return kDamaged;
  return leak_count != 0 ? kLeaks : kClean;
}

Result<CheckReport> check_image(FileSystem& file_system, const std::filesystem::path& image,
                                const CheckOptions& options) {
  return Checker(file_system, options).run(image);
}

}  // namespace vmdk
