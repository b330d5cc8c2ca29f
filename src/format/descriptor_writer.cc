#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "format/ascii.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

// The format has no escape: these bytes cannot stand between quotes.
Status check_representable(std::string_view what, std::string_view text) {
  if (text.find_first_of(std::string_view("\"\r\n\0", 4)) != std::string_view::npos) {
    return Error::make(ErrorCode::kInvalidArgument,
                       fmt::format("{} {}: a descriptor cannot hold a quote, a line end or a NUL",
                                   what, ascii::quoted(text)));
  }
  return {};
}

Status check_strings(const NewDescriptor& descriptor) {
  RETURN_IF_ERROR(check_representable("createType", descriptor.create_type));
  RETURN_IF_ERROR(check_representable("parent", descriptor.parent_hint));
  RETURN_IF_ERROR(check_representable("adapter", descriptor.adapter));
  for (const auto& [key, value] : descriptor.more)
    RETURN_IF_ERROR(check_representable(key, value));
  for (const auto& extent : descriptor.extents)
    RETURN_IF_ERROR(check_representable("file name", extent.file_name));
  return {};
}

}  // namespace

std::string render_extent(const ExtentLine& extent) {
  auto line = fmt::format("{} {} {}", to_string(extent.access), extent.length.count(),
                          to_string(extent.type));
  if (extent.type == ExtentType::kZero)
    return line;
  line += fmt::format(" \"{}\"", extent.file_name);
  // VMware writes the offset for FLAT only; QEMU refuses it behind every other type.
  if (extent.type == ExtentType::kFlat)
    line += fmt::format(" {}", extent.offset.count());
  return line;
}

Result<std::string> render_descriptor(const NewDescriptor& descriptor) {
  RETURN_IF_ERROR(check_strings(descriptor));
  std::string text = fmt::format(
      "# Disk DescriptorFile\n"
      "version=1\n"
      "encoding=\"UTF-8\"\n"
      "CID={:08x}\n"
      "parentCID={:08x}\n"
      "createType=\"{}\"\n",
      descriptor.cid, descriptor.parent_cid, descriptor.create_type);
  if (!descriptor.parent_hint.empty())
    text += fmt::format("parentFileNameHint=\"{}\"\n", descriptor.parent_hint);
  text += "\n# Extent description\n";
  for (const auto& extent : descriptor.extents)
    text += render_extent(extent) + '\n';
  text += fmt::format(
      "\n# The Disk Data Base\n"
      "#DDB\n"
      "\n"
      "ddb.virtualHWVersion = \"4\"\n"
      "ddb.geometry.cylinders = \"{}\"\n"
      "ddb.geometry.heads = \"{}\"\n"
      "ddb.geometry.sectors = \"{}\"\n"
      "ddb.adapterType = \"{}\"\n"
      "ddb.toolsVersion = \"2147483647\"\n",
      descriptor.cylinders, descriptor.heads, descriptor.sectors, descriptor.adapter);

  for (const auto& [key, value] : descriptor.more)
    text += fmt::format("{} = \"{}\"\n", key, value);

  // Limits (lengths of lines, of the text, of the disk) live in the parser: what it would refuse
  // to read is not written.
  if (auto read_back = Descriptor::parse(text); !read_back) {
    return Error::make(ErrorCode::kInvalidArgument,
                       "the descriptor would not be readable: " + read_back.error().message());
  }
  return text;
}

Geometry geometry_for(Sectors capacity, std::string_view adapter) noexcept {
  const bool ide = ascii::equal_without_case(adapter, "ide");
  const std::uint32_t heads = ide ? 16 : 255;
  constexpr std::uint32_t kSectorsPerTrack = 63;
  const std::uint64_t most = ide ? 16383 : std::numeric_limits<std::uint32_t>::max();
  const auto cylinders =
      std::clamp<std::uint64_t>(capacity.count() / (heads * kSectorsPerTrack), 1, most);
  return {static_cast<std::uint32_t>(cylinders), heads, kSectorsPerTrack};
}

std::uint32_t usable_cid(std::uint32_t random) noexcept {
  constexpr std::uint32_t kNeverWrittenCid = 0xFFFFFFFE;
  return random >= kNeverWrittenCid ? random - 0x80000000U : random;
}

}  // namespace vmdk
