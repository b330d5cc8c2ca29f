#include "disk/unreadable.h"

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace vmdk {
namespace {

Error cannot_be(std::string_view done, const Image& image, const Image::Part& part, DiskOffset at) {
  const auto at_byte = [&](const std::string& file, std::string_view why) {
    return Error::make(ErrorCode::kIo, fmt::format("{}: byte {} of the disk cannot be {}: {}", file,
                                                   at.bytes(), done, why));
  };
  if (part.line.access == ExtentAccess::kNoAccess)
    return at_byte(image.path().native(),
                   fmt::format("line {} of the descriptor says NOACCESS", part.line.line_number));
  // Only a salvaged disk is opened without one of its extents, or with one that is cut.
  const OpenFile* const file = part.extent->file();
  if (file == nullptr)
    return at_byte(image.path().native(), "the extent there could not be opened");
  const std::uint64_t grain_size = part.extent->grain_size();
  if (grain_size == 0)
    return at_byte(file->name(), "the file is cut before it");
  return at_byte(file->name(), fmt::format("the entry of grain {} cannot be right",
                                           part.offset_of(at).bytes() / grain_size))
      .with_hint("vmdkctl check lists the damage");
}

}  // namespace

Error unreadable(const Image& image, const Image::Part& part, DiskOffset at) {
  return cannot_be("read", image, part, at);
}

Error unwritable(const Image& image, const Image::Part& part, DiskOffset at) {
  return cannot_be("written", image, part, at);
}

}  // namespace vmdk
