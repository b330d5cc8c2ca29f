#include "disk/rewritten_extent.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "disk/grain_header.h"
#include "disk/image_text.h"
#include "disk/new_files.h"

namespace vmdk {
namespace {

// What all programs leave for an embedded descriptor.
constexpr std::uint64_t kDescriptorSectors = 20;
constexpr std::uint64_t kLeastGrain = 4 * kKiB;
constexpr std::uint64_t kMostGrain = kMiB;

}  // namespace

std::uint64_t usable_grain(std::uint64_t old_grain) noexcept {
  return std::clamp(old_grain, kLeastGrain, kMostGrain);
}

Result<RewrittenExtent> plan_rewritten(const File& old, const ExtentInfo& extent,
                                       const LayerInfo& layer) {
  ASSIGN_OR_RETURN(const GrainHeader any, read_grain_header(old));
  const auto* header = std::get_if<SparseHeader>(&any);
  if (header == nullptr)
    return Error::make(ErrorCode::kBusy,
                       fmt::format("{}: was replaced by another program", old.name()));
  RewrittenExtent planned;
  std::uint64_t descriptor_sectors = 0;
  if (extent.file == layer.file) {
    ASSIGN_OR_RETURN(const ImageText text, read_image_text(old));
    planned.descriptor = text.descriptor.text();
    descriptor_sectors = std::max(kDescriptorSectors, header->descriptor_size.count());
  }
  auto layout = lay_out_sparse_extent(header->capacity,
                                      Sectors(usable_grain(header->grain_bytes()) / kSectorSize),
                                      descriptor_sectors, header->has_zeroed_grains(), false);
  if (!layout)
    return std::move(layout).error().with_context(old.name());
  planned.file.size = layout->file_size;
  planned.file.layout = *layout;
  return planned;
}

Status lay_out_again(RewrittenExtent& planned, Sectors capacity) {
  const SparseHeader& old = planned.file.layout->header;
  ASSIGN_OR_RETURN(const SparseLayout layout,
                   lay_out_sparse_extent(capacity, old.grain_size, old.descriptor_size.count(),
                                         old.has_zeroed_grains()));
  if (planned.descriptor.size() > layout.header.descriptor_size.count() * kSectorSize)
    return Error::make(ErrorCode::kNoSpace, "its descriptor has no room for the new text");
  planned.file.size = layout.file_size;
  planned.file.layout = layout;
  return {};
}

Status write_rewritten(File& file, const RewrittenExtent& planned, ExtentFiller& filler,
                       DiskOffset begin, std::uint64_t length, const Progress& progress) {
  RETURN_IF_ERROR(lay_down_new_file(file, planned.file, planned.descriptor));
  RETURN_IF_ERROR(filler.fill(file, *planned.file.layout, begin, length, progress));
  return file.sync();
}

}  // namespace vmdk
