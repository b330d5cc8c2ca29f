#include "disk/create_plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <random>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <vmdk/units.h>

#include "base/checked_math.h"
#include "base/text.h"
#include "disk/chain.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/relative_hint.h"
#include "disk/virtualbox_keys.h"
#include "format/descriptor.h"
#include "format/sparse_header.h"
#include "format/stream_marker.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kEmbeddedDescriptorSectors = 20;
// Kept free in an embedded descriptor: other programs add lines of their own.
constexpr std::size_t kDescriptorReserve = kKiB;
// No extent line is shorter; bounds the number of members before any memory is taken for them.
constexpr std::uint64_t kShortestExtentLine = sizeof("RW 1 FLAT \"-f001.vmdk\" 0");
constexpr std::uint64_t kMinGrainSize = 4 * kKiB;
constexpr std::uint64_t kMaxGrainSize = kMiB;
constexpr std::uint64_t kMaxSectors = std::uint64_t{1} << 54U;

constexpr std::array<std::string_view, 4> kAdapters{"ide", "buslogic", "lsilogic", "legacyESX"};

bool is_sparse(ImageType type) noexcept {
  return type == ImageType::kMonolithicSparse || type == ImageType::kTwoGbMaxExtentSparse;
}

bool has_grains(ImageType type) noexcept {
  return is_sparse(type) || type == ImageType::kStreamOptimized;
}

// Image, extent and descriptor are one file.
bool is_one_file(ImageType type) noexcept {
  return type == ImageType::kMonolithicSparse || type == ImageType::kStreamOptimized;
}

bool is_split(ImageType type) noexcept {
  return type == ImageType::kTwoGbMaxExtentSparse || type == ImageType::kTwoGbMaxExtentFlat;
}

std::string_view create_type_of(ImageType type) noexcept {
  switch (type) {
    case ImageType::kMonolithicSparse:
      return "monolithicSparse";
    case ImageType::kTwoGbMaxExtentSparse:
      return "twoGbMaxExtentSparse";
    case ImageType::kMonolithicFlat:
      return "monolithicFlat";
    case ImageType::kTwoGbMaxExtentFlat:
      return "twoGbMaxExtentFlat";
    case ImageType::kVmfs:
      return "vmfs";
    case ImageType::kStreamOptimized:
      return "streamOptimized";
  }
  return "";
}

ExtentType extent_type_of(ImageType type) noexcept {
  if (has_grains(type))
    return ExtentType::kSparse;
  return type == ImageType::kVmfs ? ExtentType::kVmfs : ExtentType::kFlat;
}

Error refuse(const fs::path& image, std::string_view why) {
  return Error::make(ErrorCode::kInvalidArgument,
                     fmt::format("{}: not created: {}", image.native(), why));
}

// What a child takes over from its parent.
struct Parent {
  std::uint64_t capacity = 0;  // bytes
  std::uint32_t cid = kNoParentCid;
  std::string hint;
  std::string adapter;               // empty: the descriptor does not say
  std::optional<Geometry> geometry;  // nullopt: the same
  // By which VirtualBox finds it; empty: it has not met this one.
  std::vector<std::pair<std::string, std::string>> virtualbox;
  std::unique_ptr<Disk> disk;
};

Status check_grain(const fs::path& image, const CreateOptions& options) {
  const std::uint64_t grain = options.grain_size;
  if (options.zeroed_grains && options.type == ImageType::kStreamOptimized)
    return refuse(image, "a stream has no zeroed grains");
  if (!has_grains(options.type)) {
    if (grain != CreateOptions{}.grain_size)
      return refuse(image, "a flat image has no grains");
    if (options.zeroed_grains)
      return refuse(image, "a flat image has no zeroed grains");
    return {};
  }
  if (!is_power_of_two(grain) || grain < kMinGrainSize || grain > kMaxGrainSize) {
    return refuse(
        image, fmt::format("a grain of {} bytes is not a power of two from 4 KiB to 1 MiB", grain));
  }
  return {};
}

Status check_adapter(const fs::path& image, std::string_view adapter) {
  if (adapter.empty())
    return {};
  for (const std::string_view known : kAdapters) {
    if (adapter == known)
      return {};
  }
  return refuse(image, fmt::format("unknown adapter \"{}\"", adapter))
      .with_hint(fmt::format("one of {}", comma_list(kAdapters)));
}

Status check_capacity(const fs::path& image, std::uint64_t capacity) {
  if (capacity == 0)
    return refuse(image, "a disk of 0 bytes");
  if (capacity % kSectorSize != 0) {
    return refuse(image, fmt::format("{} bytes are not a whole number of sectors", capacity))
        .with_hint("the size is a multiple of 512");
  }
  if (capacity / kSectorSize >= kMaxSectors)
    return refuse(image, fmt::format("{} is more than a disk can hold", format_size(capacity)));
  return {};
}

Status check_options(const fs::path& image, const CreateOptions& options) {
  if (!image.has_filename() || image.filename() == "." || image.filename() == "..")
    return refuse(image, "not the name of a file");
  if (!is_utf8(image.filename().native()))
    return refuse(image, "a name in a descriptor must be UTF-8");
  RETURN_IF_ERROR(check_grain(image, options));
  RETURN_IF_ERROR(check_adapter(image, options.adapter));
  if (!options.parent.empty() && !is_sparse(options.type)) {
    return refuse(image, fmt::format("a {} image cannot be a child", create_type_of(options.type)))
        .with_hint("children are monolithicSparse or twoGbMaxExtentSparse");
  }
  if (options.capacity)
    return check_capacity(image, *options.capacity);
  if (options.parent.empty())
    return refuse(image, "its size is not given");
  return {};
}

// Whether an image of the chain looks for its own parent where the new image will be.
bool closes_a_loop(const DiskInfo& chain, const fs::path& image) {
  const fs::path target = settled(image);
  for (const LayerInfo& layer : chain.layers) {
    if (layer.parent_hint.empty())
      continue;
    if (settled(fs::path(layer.file).parent_path() / layer.parent_hint) == target)
      return true;
  }
  return false;
}

std::optional<Geometry> geometry_in(const Descriptor& descriptor) {
  Geometry geometry{};
  const std::array<std::pair<std::string_view, std::uint32_t*>, 3> fields{{
      {"ddb.geometry.cylinders", &geometry.cylinders},
      {"ddb.geometry.heads", &geometry.heads},
      {"ddb.geometry.sectors", &geometry.sectors},
  }};
  for (const auto& [key, number] : fields) {
    const std::string digits = descriptor.value(key).value_or("");
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, *number);
    if (error != std::errc{} || stop != end)
      return std::nullopt;
  }
  return geometry;
}

Result<Parent> look_at_parent(FileSystem& file_system, const fs::path& image,
                              const CreateOptions& options, Purpose purpose) {
  OpenOptions open = options.parent_options;
  open.access = Access::kReadOnly;
  ASSIGN_OR_RETURN(auto disk, Disk::open(file_system, options.parent, std::move(open)));
  const DiskInfo info = disk->info();
  const LayerInfo& top = info.layers.front();
  if (info.layers.size() >= kMaxChainDepth)
    return refuse(image, fmt::format("its chain would be longer than {} images", kMaxChainDepth));
  if (closes_a_loop(info, image))
    return refuse(image,
                  "the parent names this image as its own parent: the chain would be a loop");
  if (top.cid == kNoParentCid)
    return refuse(image, "the parent's content id is ffffffff, which no child can name");
  if (options.capacity && *options.capacity != disk->capacity()) {
    return refuse(image, fmt::format("a child has the size of its parent, {} bytes, not {}",
                                     disk->capacity(), *options.capacity));
  }
  const std::string hint =
      purpose == Purpose::kUnnamedOverlay ? "parent.vmdk" : relative_hint(image, top.file);
  Parent parent{disk->capacity(), top.cid, hint, {}, {}, {}, {}};
  if (!is_utf8(parent.hint))
    return refuse(image, "a name in a descriptor must be UTF-8");
  ASSIGN_OR_RETURN(const auto file, open_image(file_system, options.parent, Access::kReadOnly));
  ASSIGN_OR_RETURN(const ImageText text, read_image_text(*file));
  parent.adapter = text.descriptor.value("ddb.adapterType").value_or("");
  parent.geometry = geometry_in(text.descriptor);
  parent.virtualbox = virtualbox_keys(text.descriptor);
  parent.disk = std::move(disk);
  return parent;
}

// "disk" of "disk.vmdk": what the members' names begin with.
std::string stem_of(const fs::path& image) {
  const std::string extension = image.extension().native();
  const bool usual = extension == ".vmdk" || extension == ".VMDK";
  return (usual ? image.stem() : image.filename()).native();
}

std::string member_name(const fs::path& image, ImageType type, std::uint64_t number) {
  switch (type) {
    case ImageType::kMonolithicSparse:
    case ImageType::kStreamOptimized:
      return image.filename().native();
    case ImageType::kTwoGbMaxExtentSparse:
      return member_name_of(image, false, number);
    case ImageType::kTwoGbMaxExtentFlat:
      return member_name_of(image, true, number);
    case ImageType::kMonolithicFlat:
    case ImageType::kVmfs:
      break;
  }
  return flat_name_of(image);
}

Result<NewFile> plan_extent(const fs::path& image, const CreateOptions& options,
                            std::string_view name, Sectors length, Purpose purpose) {
  NewFile file{image.parent_path() / name, length.count() * kSectorSize, std::nullopt};
  if (options.type == ImageType::kStreamOptimized) {
    auto header = new_stream_header(length, Sectors(options.grain_size / kSectorSize),
                                    Sectors(kEmbeddedDescriptorSectors));
    if (!header)
      return std::move(header).error().with_context(image.native());
    return NewFile{file.path, 0, SparseLayout{*header}};
  }
  if (!is_sparse(options.type))
    return file;
  const bool embeds = options.type == ImageType::kMonolithicSparse;
  auto layout = lay_out_sparse_extent(
      length, Sectors(options.grain_size / kSectorSize), embeds ? kEmbeddedDescriptorSectors : 0,
      options.zeroed_grains, purpose == Purpose::kImage || purpose == Purpose::kConversion);
  if (!layout)
    return std::move(layout).error().with_context(image.native());
  file.size = layout->file_size;
  file.layout = *layout;
  return file;
}

// Fills the plan's files and the descriptor's extent lines.
Status plan_extents(const fs::path& image, const CreateOptions& options, Sectors capacity,
                    Purpose purpose, CreatePlan& plan, NewDescriptor& descriptor) {
  const std::uint64_t step = is_split(options.type) ? kMemberSectors : capacity.count();
  const std::uint64_t count = ceil_div(capacity.count(), step);
  if (count > kMaxDescriptorBytes / kShortestExtentLine)
    return refuse(image, fmt::format("{} members do not fit a descriptor of 1 MiB", count));
  // As VMware's programs write it: nobody can write to a stream.
  const ExtentAccess access = options.type == ImageType::kStreamOptimized
                                  ? ExtentAccess::kReadOnly
                                  : ExtentAccess::kReadWrite;
  for (std::uint64_t i = 0; i < count; ++i) {
    const Sectors length(std::min(step, capacity.count() - i * step));
    std::string name = member_name(image, options.type, i + 1);
    ASSIGN_OR_RETURN(NewFile file, plan_extent(image, options, name, length, purpose));
    plan.extents.push_back(std::move(file));
    descriptor.extents.push_back(
        {access, extent_type_of(options.type), length, std::move(name), Sectors(), 0});
  }
  return {};
}

std::string choose_adapter(const CreateOptions& options, const Parent& parent) {
  if (!options.adapter.empty())
    return options.adapter;
  if (!parent.adapter.empty())
    return parent.adapter;
  const bool for_esx =
      options.type == ImageType::kVmfs || options.type == ImageType::kStreamOptimized;
  return for_esx ? "lsilogic" : "ide";
}

}  // namespace

std::string flat_name_of(const fs::path& image) {
  return stem_of(image) + "-flat.vmdk";
}

std::string member_name_of(const fs::path& image, bool flat, std::uint64_t number) {
  return fmt::format("{}-{}{:03}.vmdk", stem_of(image), flat ? 'f' : 's', number);
}

Result<CreatePlan> plan_image(FileSystem& file_system, const fs::path& image,
                              const CreateOptions& options, Purpose purpose) {
  RETURN_IF_ERROR(check_options(image, options));
  Parent parent;
  if (!options.parent.empty()) {
    ASSIGN_OR_RETURN(parent, look_at_parent(file_system, image, options, purpose));
  }
  const std::uint64_t bytes = options.capacity.value_or(parent.capacity);
  RETURN_IF_ERROR(check_capacity(image, bytes));

  NewDescriptor descriptor;
  descriptor.cid = usable_cid(std::random_device{}());
  descriptor.parent_cid = parent.cid;
  descriptor.create_type = create_type_of(options.type);
  descriptor.parent_hint = parent.hint;
  descriptor.adapter = choose_adapter(options, parent);
  const Sectors capacity(bytes / kSectorSize);
  // A guest that has seen the parent's geometry must not find another one.
  const Geometry geometry = parent.geometry && descriptor.adapter == parent.adapter
                                ? *parent.geometry
                                : geometry_for(capacity, descriptor.adapter);
  descriptor.cylinders = geometry.cylinders;
  descriptor.heads = geometry.heads;
  descriptor.sectors = geometry.sectors;
  descriptor.more = parent.virtualbox;

  CreatePlan plan;
  plan.embedded = is_one_file(options.type);
  RETURN_IF_ERROR(plan_extents(image, options, capacity, purpose, plan, descriptor));
  auto text = render_descriptor(descriptor);
  if (!text)
    return std::move(text).error().with_context(image.native());
  plan.descriptor = *std::move(text);
  // The flat file is made sparse, which on VMFS is what thin means.
  if (options.type == ImageType::kVmfs)
    plan.descriptor += "ddb.thinProvisioned = \"1\"\n";
  if (plan.embedded &&
      plan.descriptor.size() + kDescriptorReserve > kEmbeddedDescriptorSectors * kSectorSize)
    return refuse(image, "its names are too long for the descriptor");
  plan.parent = std::move(parent.disk);
  return plan;
}

}  // namespace vmdk
