#include <cerrno>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include <vmdk/compact.h>
#include <vmdk/create.h>

#include "base/checked_math.h"
#include "disk/create_plan.h"
#include "disk/extent_filler.h"
#include "disk/image_text.h"
#include "disk/new_files.h"
#include "disk/offline_open.h"
#include "disk/rewritten_extent.h"
#include "disk/successor.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

class Compaction {
 public:
  Compaction(FileSystem& file_system, const fs::path& image, const CompactOptions& options)
      : file_system_(file_system), image_(image), options_(options) {}

  Result<CompactReport> run() {
    OpenOptions open =
        plain_options(options_.open, in_place() ? Access::kReadWrite : Access::kReadOnly);
    // Not a byte of the disk changes: neither its children nor the map of changes become wrong.
    open.force_children = true;
    open.drop_change_tracking = true;
    ASSIGN_OR_RETURN(disk_, Disk::open(file_system_, image_, std::move(open)));
    info_ = disk_->info();
    for (const ExtentInfo& extent : layer().extents)
      RETURN_IF_ERROR(require_hosted(extent));
    ASSIGN_OR_RETURN(beneath_, open_parent_of(file_system_, *disk_, options_.open));
    if (beneath_ != nullptr)
      report_.parent = info_.layers[1].file;
    RETURN_IF_ERROR(in_place() ? replace_extents() : make_copy());
    return report_;
  }

 private:
  bool in_place() const { return options_.to.empty(); }

  const LayerInfo& layer() const { return info_.layers.front(); }

  Status require_hosted(const ExtentInfo& extent) const {
    if (extent.type == "SPARSE" && !extent.compressed)
      return {};
    Error error = Error::make(
        ErrorCode::kUnsupported,
        fmt::format("{}: not compacted: {}", extent.file.empty() ? image_.native() : extent.file,
                    extent.compressed ? "its grains are compressed"
                                      : fmt::format("an extent of type {}", extent.type)));
    const bool flat = extent.type == "FLAT" || extent.type == "VMFS";
    return std::move(error).with_hint(
        flat
            ? "fallocate --dig-holes FILE gives back zeros of a flat file; vmdkctl convert makes a "
              "sparse image"
            : "vmdkctl convert makes a new image of the disk");
  }

  Status replace_extents() {
    DiskOffset begin;
    for (const ExtentInfo& extent : layer().extents) {
      RETURN_IF_ERROR(replace_extent(extent, begin));
      begin += extent.length;
    }
    return {};
  }

  Status replace_extent(const ExtentInfo& extent, DiskOffset begin) {
    ASSIGN_OR_RETURN(const auto old, file_system_.open(extent.file, Access::kReadOnly));
    ASSIGN_OR_RETURN(RewrittenExtent planned, plan_rewritten(*old, extent, layer()));
    ASSIGN_OR_RETURN(const std::uint64_t before, old->allocated());
    ExtentFiller filler(*disk_, beneath_.get(), options_.interrupted);
    std::uint64_t after = 0;
    bool larger = false;
    auto file = replace_file(file_system_, extent.file, *old, [&](File& fresh) -> Status {
      RETURN_IF_ERROR(
          write_rewritten(fresh, planned, filler, begin, extent.length, options_.progress));
      ASSIGN_OR_RETURN(after, fresh.allocated());
      larger = after > before;
      return larger ? Status(Error::from_errno(EFBIG, extent.file)) : Status{};
    });
    report_.bytes_before += before;
    report_.bytes_after += larger ? before : after;
    // An old file that is small already, with less of tables than the new layout has, stays.
    if (larger)
      return {};
    ASSIGN_OR_RETURN(auto successor, std::move(file));
    successors_.push_back(std::move(successor));
    return {};
  }

  Result<CreatePlan> plan_copy() const {
    const ExtentInfo& first = layer().extents.front();
    CreateOptions create;
    create.type = layer().extents.size() > 1 || first.file != layer().file
                      ? ImageType::kTwoGbMaxExtentSparse
                      : ImageType::kMonolithicSparse;
    create.capacity = disk_->capacity();
    create.grain_size = usable_grain(first.grain_size);
    create.zeroed_grains = first.zeroed_grains;
    if (beneath_ != nullptr) {
      create.parent = info_.layers[1].file;
      create.parent_options =
          options_of_parent(plain_options(options_.open, Access::kReadOnly), create.parent);
    } else {
      create.adapter = layer().adapter;
    }
    return plan_image(file_system_, options_.to, create, Purpose::kConversion);
  }

  Status make_copy() {
    RETURN_IF_ERROR(check_absent(file_system_, options_.to));
    ASSIGN_OR_RETURN(const CreatePlan plan, plan_copy());
    for (const NewFile& extent : plan.extents)
      RETURN_IF_ERROR(check_absent(file_system_, extent.path));
    ExtentFiller filler(*disk_, beneath_.get(), options_.interrupted);
    NewFiles made(file_system_);
    DiskOffset begin;
    for (const NewFile& extent : plan.extents) {
      const std::uint64_t length = extent.layout->header.capacity_bytes();
      const RewrittenExtent planned{extent, plan.embedded ? plan.descriptor : std::string()};
      ASSIGN_OR_RETURN(const auto file, made.make(extent.path, [&](File& fresh) {
        return write_rewritten(fresh, planned, filler, begin, length, options_.progress);
      }));
      ASSIGN_OR_RETURN(const std::uint64_t after, file->allocated());
      report_.bytes_after += after;
      begin += length;
    }
    if (!plan.embedded)
      RETURN_IF_ERROR(made.make(
          options_.to, [&](File& file) { return write_descriptor_file(file, plan.descriptor); }));
    const fs::path folder = options_.to.parent_path();
    RETURN_IF_ERROR(file_system_.sync_directory(folder.empty() ? fs::path(".") : folder));
    for (const ExtentInfo& extent : layer().extents) {
      ASSIGN_OR_RETURN(const auto old, file_system_.open(extent.file, Access::kReadOnly));
      ASSIGN_OR_RETURN(const std::uint64_t before, old->allocated());
      report_.bytes_before += before;
    }
    made.keep();
    return {};
  }

  FileSystem& file_system_;
  const fs::path image_;
  const CompactOptions& options_;
  CompactReport report_;
  std::unique_ptr<Disk> disk_;  // nothing is written to it
  std::unique_ptr<Disk> beneath_;
  DiskInfo info_;
  std::vector<std::unique_ptr<File>> successors_;  // they keep their locks
};

}  // namespace

Result<CompactReport> compact_image(FileSystem& file_system, const fs::path& image,
                                    const CompactOptions& options) {
  return Compaction(file_system, image, options).run();
}

}  // namespace vmdk
