#include "disk/replace_text.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "base/bytes.h"
#include "disk/grain_header.h"
#include "disk/new_files.h"
#include "disk/successor.h"

namespace vmdk {
namespace {

constexpr std::size_t kPieceBytes = kMiB;

// The sectors of a file that are for an embedded descriptor.
struct TextArea {
  FileOffset begin;
  std::vector<std::byte> before;
  std::vector<std::byte> after;  // as long
};

Result<TextArea> plan_area(const File& file, const Descriptor& changed) {
  ASSIGN_OR_RETURN(const GrainHeader any, read_grain_header(file));
  const auto* header = std::get_if<SparseHeader>(&any);
  if (header == nullptr || header->descriptor_offset.count() == 0)
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("{}: has no room for a descriptor", file.name()));
  TextArea area;
  area.begin = FileOffset(header->descriptor_offset.count() * kSectorSize);
  area.before.resize(header->descriptor_size.count() * kSectorSize);
  ASSIGN_OR_RETURN(const std::size_t got, file.read(area.begin, area.before));
  if (got != area.before.size())
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("{}: ends inside its descriptor", file.name()));
  const auto text = bytes_of(changed.text());
  if (text.size() > area.before.size())
    return Error::make(ErrorCode::kNoSpace,
                       fmt::format("{}: its descriptor has room for {} bytes, not for {}",
                                   file.name(), area.before.size(), text.size()));
  area.after.assign(area.before.size(), std::byte{0});
  std::copy(text.begin(), text.end(), area.after.begin());
  return area;
}

std::vector<std::uint64_t> changed_sectors(const TextArea& area) {
  std::vector<std::uint64_t> sectors;
  for (std::uint64_t at = 0; at < area.before.size(); at += kSectorSize)
    if (!std::equal(area.before.begin() + static_cast<std::ptrdiff_t>(at),
                    area.before.begin() + static_cast<std::ptrdiff_t>(at + kSectorSize),
                    area.after.begin() + static_cast<std::ptrdiff_t>(at)))
      sectors.push_back(at);
  return sectors;
}

Status write_at(File& file, FileOffset at, std::span<const std::byte> bytes) {
  const iovec part = part_of(bytes);
  return file.write(at, {&part, 1});
}

// Holes stay holes.
Status copy_file(const File& from, File& to, const ReplaceTextOptions& options) {
  ASSIGN_OR_RETURN(const std::uint64_t size, from.size());
  RETURN_IF_ERROR(to.resize(size));
  std::vector<std::byte> buffer(kPieceBytes);
  FileOffset at;
  for (;;) {
    ASSIGN_OR_RETURN(const auto data, from.next_data(at));
    if (!data || data->bytes() >= size)
      return {};
    ASSIGN_OR_RETURN(const auto hole, from.next_hole(*data));
    const FileOffset end(std::min(size, hole ? hole->bytes() : size));
    for (at = *data; at < end; at += kPieceBytes) {
      if (options.interrupted && options.interrupted())
        return Error::from_errno(EINTR, from.name());
      const auto piece = std::span(buffer).first(std::min<std::uint64_t>(kPieceBytes, end - at));
      ASSIGN_OR_RETURN(const std::size_t got, from.read(at, piece));
      if (got != piece.size())
        return Error::make(ErrorCode::kIo, from.name() + ": became shorter while it was read");
      if (!all_zero(piece))
        RETURN_IF_ERROR(write_at(to, at, piece));
      if (options.progress)
        options.progress(std::min(size, (at + piece.size()).bytes()), size);
    }
    at = end;
  }
}

}  // namespace

Result<std::unique_ptr<File>> replace_text(FileSystem& file_system,
                                           const std::filesystem::path& path, File& file,
                                           const ImageText& old, const Descriptor& changed,
                                           const ReplaceTextOptions& options) {
  if (changed.text() == old.descriptor.text())
    return std::unique_ptr<File>();
  if (!old.is_extent && old.begin == FileOffset())
    return replace_file(file_system, path, file,
                        [&](File& fresh) { return write_descriptor_file(fresh, changed.text()); });
  return replace_embedded_text(file_system, path, file, changed, options);
}

Result<std::unique_ptr<File>> replace_embedded_text(FileSystem& file_system,
                                                    const std::filesystem::path& path, File& file,
                                                    const Descriptor& changed,
                                                    const ReplaceTextOptions& options) {
  ASSIGN_OR_RETURN(const TextArea area, plan_area(file, changed));
  const std::vector<std::uint64_t> sectors = changed_sectors(area);
  if (sectors.empty())
    return std::unique_ptr<File>();
  if (sectors.size() == 1) {
    RETURN_IF_ERROR(write_at(file, area.begin + sectors.front(),
                             std::span(area.after).subspan(sectors.front(), kSectorSize)));
    RETURN_IF_ERROR(file.sync());
    return std::unique_ptr<File>();
  }
  return replace_file(file_system, path, file, [&](File& fresh) -> Status {
    RETURN_IF_ERROR(copy_file(file, fresh, options));
    RETURN_IF_ERROR(write_at(fresh, area.begin, area.after));
    return fresh.sync();
  });
}

}  // namespace vmdk
