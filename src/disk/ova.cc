#include "disk/ova.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/checked_math.h"
#include "base/text.h"
#include "disk/window_file.h"
#include "format/ascii.h"
#include "format/magic.h"
#include "format/tar.h"

namespace vmdk {
namespace {

// An OVA has a handful of files.
constexpr std::size_t kMaxHeaders = 10000;
constexpr std::uint64_t kMaxExtension = 64 * kKiB;   // of one long name or pax header
constexpr std::uint64_t kMaxExtensions = 16 * kMiB;  // of all of them
constexpr std::size_t kRecognisedBytes = 4 * kKiB;
constexpr std::size_t kChunkDigits = 9;

// "disk.vmdk.000000003": a part of a disk that OVF has cut into chunks.
bool is_chunk(std::string_view lower_name) noexcept {
  constexpr std::string_view kBefore = ".vmdk.";
  if (lower_name.size() < kBefore.size() + kChunkDigits)
    return false;
  const std::string_view digits = lower_name.substr(lower_name.size() - kChunkDigits);
  return std::all_of(digits.begin(), digits.end(), ascii::is_digit) &&
         lower_name.substr(0, lower_name.size() - kChunkDigits).ends_with(kBefore);
}

std::string_view last_component(std::string_view name) noexcept {
  return name.substr(name.find_last_of('/') + 1);
}

// One pass over the headers.
class Scan {
 public:
  explicit Scan(const File& archive) : archive_(archive) {}

  Result<std::vector<OvaDisk>> run() {
    ASSIGN_OR_RETURN(size_, archive_.size());
    for (std::size_t count = 0; at_ < size_; ++count) {
      if (count == kMaxHeaders)
        return Error::make(ErrorCode::kUnsupported,
                           fmt::format("{}: more than {} files in a tar archive are not looked at",
                                       archive_.name(), kMaxHeaders));
      ASSIGN_OR_RETURN(const auto header, read_header());
      if (!header)
        break;
      RETURN_IF_ERROR(take(*header));
    }
    return std::move(disks_);
  }

 private:
  Error corrupt(std::uint64_t place, std::string_view why) const {
    return Error::make(ErrorCode::kCorrupt, fmt::format("{}: a damaged tar archive: header at byte "
                                                        "{}: {}",
                                                        archive_.name(), place, why));
  }

  Result<std::optional<TarHeader>> read_header() {
    std::array<std::byte, kTarBlock> block{};
    ASSIGN_OR_RETURN(const std::size_t got, archive_.read(FileOffset(at_), block));
    if (got != block.size())
      return corrupt(at_, "the file ends inside it");
    auto header = decode_tar_header(block);
    if (!header)
      return corrupt(at_, header.error().message());
    return *std::move(header);
  }

  // Leaves at_ behind the data of the header at at_.
  Status take(const TarHeader& header) {
    const std::uint64_t place = at_;
    const std::uint64_t begin = at_ + kTarBlock;
    const bool takes_pax_size = header.type == TarType::kFile || header.type == TarType::kOther ||
                                header.type == TarType::kGnuSparse;
    const std::uint64_t size = takes_pax_size ? next_.size.value_or(header.size) : header.size;
    if (size > size_ - begin)
      return corrupt(place, fmt::format("{}: its {} bytes go beyond the end of the archive, which "
                                        "has {}",
                                        ascii::quoted(header.name), size, size_));
    at_ = std::min(begin + align_up(size, kTarBlock), size_);
    switch (header.type) {
      case TarType::kPax:
      case TarType::kPaxGlobal:
      case TarType::kGnuLongName:
      case TarType::kGnuLongLink:
        return take_extension(header.type, place, size);
      default:
        break;
    }
    const PaxRecords next = std::exchange(next_, {});
    if (header.type != TarType::kFile && header.type != TarType::kGnuSparse)
      return {};
    const bool sparse = next.sparse || header.type == TarType::kGnuSparse;
    return take_file(next.path.value_or(header.name), FileOffset(begin), size, sparse);
  }

  Status take_extension(TarType type, std::uint64_t place, std::uint64_t size) {
    extensions_ += size;
    if (size > kMaxExtension || extensions_ > kMaxExtensions)
      return corrupt(place, fmt::format("a name or pax header of {} bytes", size));
    std::string text(size, '\0');
    ASSIGN_OR_RETURN(const std::size_t got, archive_.read(FileOffset(place + kTarBlock),
                                                          std::as_writable_bytes(std::span(text))));
    if (got != size)
      return corrupt(place, "the file ends inside it");
    if (type == TarType::kGnuLongName)
      next_.path = text.substr(0, text.find('\0'));
    if (type != TarType::kPax && type != TarType::kPaxGlobal)
      return {};
    auto records = parse_pax_records(text);
    if (!records)
      return corrupt(place, records.error().message());
    if (type == TarType::kPax)
      next_ = *std::move(records);
    else if (records->size || records->path)
      return corrupt(place, "a name or size for all files");
    return {};
  }

  Status take_file(const std::string& name, FileOffset begin, std::uint64_t size, bool sparse) {
    std::array<std::byte, kRecognisedBytes> first{};
    const auto head = std::span(first).first(std::min<std::uint64_t>(size, first.size()));
    ASSIGN_OR_RETURN(const std::size_t got, archive_.read(begin, head));
    const FileKind kind = recognise(head.first(got));
    const std::string lower = ascii::lower(name);
    const bool chunk = is_chunk(lower);
    if (!chunk && kind != FileKind::kHostedSparse && !lower.ends_with(".vmdk") &&
        !lower.ends_with(".vmdk.gz"))
      return {};
    disks_.push_back({name, begin, size, obstacle_of(kind, chunk, sparse)});
    return {};
  }

  static std::string obstacle_of(FileKind kind, bool chunk, bool sparse) {
    if (chunk)
      return "a chunk of a disk that OVF has cut into pieces; unpack the archive and join them";
    if (sparse)
      return "stored with holes (GNU sparse); unpack the archive";
    switch (kind) {
      case FileKind::kHostedSparse:
        return {};
      case FileKind::kGzip:
        return "compressed with gzip; unpack the archive, then the disk with gunzip";
      case FileKind::kDescriptor:
        return "a descriptor whose disk is in other files; unpack the archive";
      case FileKind::kUnknown:
        return "raw data, which only a descriptor explains; unpack the archive";
      default:
        return fmt::format("{}; unpack the archive", describe(kind));
    }
  }

  const File& archive_;
  std::uint64_t size_ = 0;  // bytes of the archive
  std::uint64_t at_ = 0;    // the next header
  std::uint64_t extensions_ = 0;
  PaxRecords next_;  // for the next file
  std::vector<OvaDisk> disks_;
};

std::string full_name(const File& archive, const OvaDisk& disk) {
  return archive.name() + ":" + disk.name;
}

std::string list_of(const File& archive, const std::vector<OvaDisk>& disks) {
  std::string text;
  for (const OvaDisk& disk : disks)
    text += fmt::format("\n    {}   {}{}{}", printable(full_name(archive, disk)),
                        format_size(disk.size), disk.obstacle.empty() ? "" : ", ", disk.obstacle);
  return text;
}

Error refuse(const File& archive, const std::vector<OvaDisk>& disks, std::string_view why) {
  return Error::make(
      ErrorCode::kInvalidArgument,
      fmt::format("{}: a tar archive (OVA): {}{}", archive.name(), why, list_of(archive, disks)));
}

Result<const OvaDisk*> find_named(const File& archive, const std::vector<OvaDisk>& disks,
                                  std::string_view name) {
  const OvaDisk* found = nullptr;
  std::size_t matches = 0;
  // The whole name goes before the last part of one. An archive that was added to may hold a name
  // twice, and only its owner knows which is meant.
  bool whole = false;
  for (const OvaDisk& disk : disks) {
    const bool same = disk.name == name;
    if (!same && (whole || last_component(disk.name) != name))
      continue;
    matches = same == whole ? matches + 1 : 1;
    whole = same;
    found = &disk;
  }
  if (matches == 1)
    return found;
  return refuse(archive, disks,
                fmt::format("it holds {} disk {}{}", matches == 0 ? "no" : "more than one",
                            ascii::quoted(name), disks.empty() ? "" : "; there are"));
}

Result<const OvaDisk*> find_only(const File& archive, const std::vector<OvaDisk>& disks) {
  if (disks.empty())
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("{}: a tar archive without a VMDK in it", archive.name()));
  const OvaDisk* only = nullptr;
  for (const OvaDisk& disk : disks) {
    if (!disk.obstacle.empty())
      continue;
    if (only != nullptr)
      return refuse(archive, disks, "it holds several disks; name one of them");
    only = &disk;
  }
  if (only == nullptr)
    return refuse(archive, disks, "no disk in it can be opened where it is");
  return only;
}

}  // namespace

Result<bool> is_tar(const File& file) {
  std::array<std::byte, kTarBlock> block{};
  ASSIGN_OR_RETURN(const std::size_t got, file.read(FileOffset(), block));
  return recognise(std::span(block).first(got)) == FileKind::kOva;
}

Result<std::vector<OvaDisk>> list_disks(const File& archive) {
  return Scan(archive).run();
}

Result<std::unique_ptr<File>> open_disk(std::unique_ptr<File> archive, std::string_view name) {
  ASSIGN_OR_RETURN(const std::vector<OvaDisk> disks, list_disks(*archive));
  ASSIGN_OR_RETURN(const OvaDisk* disk,
                   name.empty() ? find_only(*archive, disks) : find_named(*archive, disks, name));
  std::string shown = full_name(*archive, *disk);
  if (!disk->obstacle.empty())
    return Error::make(ErrorCode::kUnsupported, fmt::format("{}: {}", shown, disk->obstacle));
  return std::make_unique<WindowFile>(std::move(archive), disk->begin, disk->size,
                                      std::move(shown));
}

}  // namespace vmdk
