// What is new is made first and named last: the extents become longer, then the descriptor says so.
#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/resize.h>

#include "base/text.h"
#include "disk/create_plan.h"
#include "disk/extent_filler.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/new_files.h"
#include "disk/offline_open.h"
#include "disk/path_policy.h"
#include "disk/replace_text.h"
#include "disk/rewritten_extent.h"
#include "disk/successor.h"
#include "disk/write_guards.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMemberBytes = kMemberSectors * kSectorSize;

Error refuse(const fs::path& image, ErrorCode code, std::string_view why) {
  return Error::make(code, fmt::format("{}: not resized: {}", image.native(), why));
}

class Resize {
 public:
  Resize(FileSystem& file_system, const fs::path& image, std::uint64_t capacity,
         const ResizeOptions& options)
      : file_system_(file_system),
        image_(image),
        capacity_(capacity),
        options_(options),
        made_(file_system) {}

  Status run() {
    OpenOptions open = plain_options(options_.open, Access::kReadWrite);
    open.force_children = true;  // looked for below, where the way out is known
    ASSIGN_OR_RETURN(disk_, Disk::open(file_system_, image_, std::move(open)));
    layer_ = disk_->info().layers.front();
    ASSIGN_OR_RETURN(file_, open_image(file_system_, image_, Access::kReadWrite));
    ASSIGN_OR_RETURN(text_, read_image_text(*file_));
    RETURN_IF_ERROR(require_no_snapshots());
    RETURN_IF_ERROR(judge());
    if (capacity_ == disk_->capacity())
      return {};
    RETURN_IF_ERROR(plan());
    return is_one_file() ? write_one_file() : write_several();
  }

 private:
  bool is_one_file() const { return last().file == layer_.file; }

  const ExtentInfo& last() const { return layer_.extents.back(); }

  bool is_flat() const { return last().type == "FLAT" || last().type == "VMFS"; }

  // Members of a split image stay below 2 GiB.
  bool is_split() const {
    return !is_one_file() &&
           (layer_.create_type.starts_with("twoGb") || layer_.create_type.starts_with("2Gb"));
  }

  Status judge() const {
    if (capacity_ % kSectorSize != 0)
      return refuse(image_, ErrorCode::kInvalidArgument,
                    fmt::format("{} bytes are not a whole number of sectors", capacity_));
    if (capacity_ < disk_->capacity())
      return refuse(image_, ErrorCode::kInvalidArgument,
                    fmt::format("it has {} bytes, and what is behind {} would be lost",
                                disk_->capacity(), capacity_));
    if (disk_->info().layers.size() > 1)
      return refuse(image_, ErrorCode::kUnsupported, "a snapshot has the size of its parent")
          .with_hint("vmdkctl convert makes one image of the chain");
    const bool known = layer_.create_type != "custom" && layer_.create_type != "fullDevice" &&
                       layer_.create_type != "partitionedDevice";
    if (!known || (!is_flat() && last().type != "SPARSE"))
      return refuse(image_, ErrorCode::kUnsupported,
                    fmt::format("a {} image that ends with an extent of type {}",
                                layer_.create_type, last().type))
          .with_hint("vmdkctl convert makes an image that can become longer");
    const auto same_file = [&](const ExtentInfo& extent) { return extent.file == last().file; };
    if (std::count_if(layer_.extents.begin(), layer_.extents.end(), same_file) > 1)
      return refuse(image_, ErrorCode::kUnsupported,
                    fmt::format("two of its extents lie in {}", last().file));
    return {};
  }

  Status require_no_snapshots() const {
    auto alone = require_no_children(file_system_, image_, text_->descriptor);
    if (!alone && alone.error().code() == ErrorCode::kBusy)
      return std::move(alone).error().with_hint(
          "snapshots keep their size: vmdkctl commit ends one, or vmdkctl convert makes one image "
          "of it that can become longer");
    return alone;
  }

  // The length of the last extent, the members behind it, and the text that names them.
  Status plan() {
    std::uint64_t missing = capacity_ - disk_->capacity();
    std::uint64_t more_in_last = missing;
    if (is_split())
      more_in_last = std::min(missing, kMemberBytes - std::min(kMemberBytes, last().length));
    last_bytes_ = last().length + more_in_last;
    missing -= more_in_last;
    RETURN_IF_ERROR(plan_members(missing));
    std::vector<ExtentLine> lines;
    for (const NewFile& member : members_)
      lines.push_back({ExtentAccess::kReadWrite,
                       is_flat() ? ExtentType::kFlat : ExtentType::kSparse,
                       Sectors(length_of(member) / kSectorSize), member.path.filename().native(),
                       Sectors(), 0});
    ASSIGN_OR_RETURN(Descriptor changed,
                     text_->descriptor.with_last_extent(Sectors(last_bytes_ / kSectorSize), lines));
    ASSIGN_OR_RETURN(changed, with_geometry(std::move(changed)));
    if (changed.has_change_tracking())
      changed.drop_change_tracking();
    std::random_device random;
    changed.set_content_id(usable_cid(random()), {random(), random(), random()});
    changed_ = std::move(changed);
    return {};
  }

  static std::uint64_t length_of(const NewFile& member) {
    return member.layout ? member.layout->header.capacity_bytes() : member.size;
  }

  Status plan_members(std::uint64_t missing) {
    std::uint64_t number = layer_.extents.size();
    while (missing != 0) {
      const std::uint64_t length = std::min(missing, kMemberBytes);
      NewFile member;
      // What a resize that did not end left is not in the way.
      do {
        member.path = image_.parent_path() / member_name_of(image_, is_flat(), ++number);
      } while (file_system_.kind(member.path) != FileSystem::Kind::kNothing);
      member.size = length;
      if (!is_flat()) {
        ASSIGN_OR_RETURN(member.layout, lay_out_sparse_extent(
                                            Sectors(length / kSectorSize),
                                            Sectors(usable_grain(last().grain_size) / kSectorSize),
                                            0, last().zeroed_grains));
        member.size = member.layout->file_size;
      }
      members_.push_back(std::move(member));
      missing -= length;
    }
    return {};
  }

  // Only what the descriptor says already is kept right.
  Result<Descriptor> with_geometry(Descriptor descriptor) const {
    const std::string adapter = descriptor.value("ddb.adapterType").value_or("ide");
    const Geometry geometry = geometry_for(Sectors(capacity_ / kSectorSize), adapter);
    const std::array<std::pair<std::string_view, std::uint32_t>, 3> fields{
        {{"ddb.geometry.cylinders", geometry.cylinders},
         {"ddb.geometry.heads", geometry.heads},
         {"ddb.geometry.sectors", geometry.sectors}}};
    for (const auto& [key, number] : fields) {
      if (!descriptor.value(key))
        continue;
      ASSIGN_OR_RETURN(descriptor, descriptor.with_value(key, std::to_string(number)));
    }
    return descriptor;
  }

  ExtentFiller filler() { return {*disk_, nullptr, options_.interrupted}; }

  Status write_one_file() {
    ASSIGN_OR_RETURN(RewrittenExtent planned, plan_rewritten(*file_, last(), layer_));
    planned.descriptor = changed_->text();
    RETURN_IF_ERROR(make_longer(planned));
    return replace_last(planned, DiskOffset());
  }

  Status make_longer(RewrittenExtent& planned) const {
    Status laid_out = lay_out_again(planned, Sectors(last_bytes_ / kSectorSize));
    return laid_out ? laid_out : std::move(laid_out).error().with_context(last().file);
  }

  Status replace_last(const RewrittenExtent& planned, DiskOffset begin) {
    ASSIGN_OR_RETURN(const auto old, file_system_.open(last().file, Access::kReadOnly));
    ExtentFiller fill = filler();
    ASSIGN_OR_RETURN(auto file, replace_file(file_system_, last().file, *old, [&](File& fresh) {
                       return write_rewritten(fresh, planned, fill, begin, last().length,
                                              options_.progress);
                     }));
    successors_.push_back(std::move(file));
    return {};
  }

  Status write_several() {
    if (last_bytes_ != last().length)
      RETURN_IF_ERROR(is_flat() ? lengthen_flat() : lengthen_sparse());
    for (const NewFile& member : members_)
      RETURN_IF_ERROR(
          made_.make(member.path, [&](File& file) { return write_new_file(file, member, ""); }));
    RETURN_IF_ERROR(file_system_.sync_directory(folder_of(image_)));
    ASSIGN_OR_RETURN(auto file, replace_text(file_system_, image_, *file_, *text_, *changed_));
    made_.keep();
    successors_.push_back(std::move(file));
    return {};
  }

  // What lies behind its end so far was never shown.
  Status lengthen_flat() {
    ASSIGN_OR_RETURN(const auto file, file_system_.open(last().file, Access::kReadWrite));
    RETURN_IF_ERROR(file->resize(last().file_offset + last().length));
    RETURN_IF_ERROR(file->resize(last().file_offset + last_bytes_));
    return file->sync();
  }

  // The header may have a larger capacity than the line says.
  Status lengthen_sparse() {
    ASSIGN_OR_RETURN(const auto old, file_system_.open(last().file, Access::kReadOnly));
    ASSIGN_OR_RETURN(RewrittenExtent planned, plan_rewritten(*old, last(), layer_));
    RETURN_IF_ERROR(make_longer(planned));
    return replace_last(planned, DiskOffset(disk_->capacity() - last().length));
  }

  FileSystem& file_system_;
  const fs::path image_;
  const std::uint64_t capacity_;  // bytes
  const ResizeOptions& options_;
  std::unique_ptr<Disk> disk_;  // nothing is written to it
  LayerInfo layer_;
  std::unique_ptr<File> file_;  // of the image
  std::optional<ImageText> text_;
  std::optional<Descriptor> changed_;
  std::uint64_t last_bytes_ = 0;
  std::vector<NewFile> members_;
  NewFiles made_;
  std::vector<std::unique_ptr<File>> successors_;  // they keep their locks
};

}  // namespace

Status resize_image(FileSystem& file_system, const fs::path& image, std::uint64_t capacity,
                    const ResizeOptions& options) {
  return Resize(file_system, image, capacity, options).run();
}

}  // namespace vmdk
