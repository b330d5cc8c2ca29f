#include "disk/image_text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/hints.h"
#include "disk/grain_header.h"
#include "format/magic.h"

namespace vmdk {
namespace {

constexpr std::size_t kRecognisedBytes = 4 * kKiB;

Error refuse(const File& file, ErrorCode code, std::string_view why) {
  return Error::make(code, fmt::format("{}: {}", file.name(), why));
}

std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()),
          bytes.size()};  // NOLINT: bytes as characters
}

Result<std::vector<std::byte>> read_up_to(const File& file, FileOffset at, std::size_t length) {
  std::vector<std::byte> bytes(length);
  ASSIGN_OR_RETURN(const std::size_t got, file.read(at, bytes));
  bytes.resize(got);
  return bytes;
}

// "disk-s003.vmdk" and "disk-flat.vmdk" belong to "disk.vmdk".
std::string descriptor_name_of(const std::string& member) {
  const std::string_view ending = ".vmdk";
  if (!member.ends_with(ending))
    return {};
  const std::string stem = member.substr(0, member.size() - ending.size());
  const std::size_t dash = stem.find_last_of('-');
  if (dash == std::string::npos || dash + 1 >= stem.size())
    return {};
  const std::string tail = stem.substr(dash + 1);
  const bool numbered =
      (tail[0] == 's' || tail[0] == 'f') && tail.size() == 4 &&
      std::all_of(tail.begin() + 1, tail.end(), [](char c) { return c >= '0' && c <= '9'; });
  constexpr std::array kTails =
      std::to_array<std::string_view>({"flat", "delta", "sesparse", "ctk", "rdm", "rdmp", "pt"});
  const bool named = std::find(kTails.begin(), kTails.end(), tail) != kTails.end();
  return numbered || named ? stem.substr(0, dash) + std::string(ending) : std::string();
}

Error member_of_disk(const File& file, std::string_view what) {
  Error error = refuse(file, ErrorCode::kInvalidArgument, what);
  const std::string descriptor = descriptor_name_of(file.name());
  return std::move(error).with_hint(descriptor.empty()
                                        ? "open the disk's descriptor, the small text file"
                                        : "open the disk's descriptor: " + descriptor);
}

Error foreign(const File& file, std::string_view what) {
  return refuse(file, ErrorCode::kUnsupported, fmt::format("not a VMDK image: it is {}", what))
      .with_hint("qemu-img convert -O vmdk makes a VMDK of it");
}

bool shows(const File& file, FileOffset at, std::string_view signature) {
  const auto bytes = read_up_to(file, at, signature.size());
  return bytes && as_text(*bytes) == signature;
}

// A fixed VHD is a raw disk with a footer.
bool has_vhd_footer(const File& file) {
  const auto size = file.size();
  return size && *size >= kSectorSize && shows(file, FileOffset(*size - kSectorSize), "conectix");
}

bool has_partition_table(const File& file) {
  constexpr std::uint64_t kBootSignatureAt = 510;
  return shows(file, FileOffset(kBootSignatureAt), "\x55\xAA") ||
         shows(file, FileOffset(kSectorSize), "EFI PART");
}

Error raw_data(const File& file) {
  if (!descriptor_name_of(file.name()).empty())
    return member_of_disk(file, "raw data of an extent, without a descriptor");
  if (has_vhd_footer(file))
    return foreign(file, describe(FileKind::kVhd));
  constexpr std::string_view kAsItIs =
      "a raw image is flat as it is (losetup, fdisk, mount take it); vmdkctl convert --from=raw "
      "makes a VMDK of it";
  if (has_partition_table(file))
    return refuse(file, ErrorCode::kUnsupported, "not a VMDK image: it is a raw disk image")
        .with_hint(std::string(kAsItIs));
  return refuse(file, ErrorCode::kUnsupported,
                "not a VMDK image: neither a sparse header nor a descriptor")
      .with_hint(std::string(kAsItIs));
}

Error not_an_image(const File& file, FileKind kind) {
  switch (kind) {
    case FileKind::kEmpty:
      return refuse(file, ErrorCode::kUnsupported, "not a VMDK image: the file is empty");
    case FileKind::kSeSparse:
      return member_of_disk(file, "an SESparse extent, which has no descriptor of its own");
    case FileKind::kUnfinishedStream:
      return refuse(file, ErrorCode::kUnsupported,
                    "a conversion to streamOptimized that was not finished")
          .with_hint("convert again from the source; what is here is only a part of it");
    case FileKind::kChangeTracking:
      return member_of_disk(file, "a change-tracking file, not a disk");
    case FileKind::kQcow:
    case FileKind::kVhdx:
    case FileKind::kVdi:
    case FileKind::kVhd:
      return foreign(file, describe(kind));
    case FileKind::kGzip:
      return refuse(file, ErrorCode::kUnsupported, "not a VMDK image: it is a gzip file")
          .with_hint("gunzip unpacks it");
    case FileKind::kOva:
      return refuse(file, ErrorCode::kUnsupported,
                    fmt::format("not a VMDK image: it is {}", describe(kind)))
          .with_hint("unpack it first");
    default:
      return raw_data(file);
  }
}

bool is_unfinished(const File& file) noexcept {
  const std::string_view path = file.name();
  return path.substr(path.find_last_of('/') + 1).starts_with(kUnfinishedName);
}

// Whether the text, which ends at its first NUL, could have been written by somebody.
bool is_text(std::string_view text) noexcept {
  text = text.substr(0, text.find('\0'));
  return std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r';
  });
}

Result<Descriptor> parse(const File& file, std::span<const std::byte> bytes) {
  auto descriptor = Descriptor::parse(as_text(bytes));
  if (!descriptor)
    return std::move(descriptor).error().with_context(file.name());
  return std::move(*descriptor);
}

// What is lost reads as NULs, a sector mostly. What it held, extents perhaps, would be missing
// without a word. QEMU for one ends a text that has become shorter by the digits of its content id
// with a NUL, and leaves the last bytes of the longer one behind it: fewer than an extent line has.
Status require_no_gap(const File& file, std::string_view text) {
  constexpr std::size_t kMostLeft = 8;
  const std::size_t gap = text.find('\0');
  if (gap == std::string_view::npos)
    return {};
  const std::size_t last = text.find_last_not_of('\0');
  if (last == std::string_view::npos || last < gap + kMostLeft)
    return {};
  return refuse(file, ErrorCode::kCorrupt,
                fmt::format("NUL bytes in the midst of the descriptor, from byte {} on: a part of "
                            "it is lost",
                            gap))
      .with_hint("write what is lost anew, or take a copy of the descriptor");
}

Result<ImageText> read_text_file(const File& file) {
  ASSIGN_OR_RETURN(const std::uint64_t size, file.size());
  if (size > kMaxDescriptorBytes)
    return refuse(file, ErrorCode::kCorrupt, "the descriptor is longer than 1 MiB");
  ASSIGN_OR_RETURN(const auto bytes, read_up_to(file, FileOffset(), size));
  ASSIGN_OR_RETURN(Descriptor descriptor, parse(file, bytes));
  RETURN_IF_ERROR(require_no_gap(file, as_text(bytes)));
  return ImageText{.descriptor = std::move(descriptor)};
}

// For a file that is its only extent.
Result<ImageText> made_up_text(const File& file, Sectors capacity, std::string_view type) {
  const std::string text = fmt::format(
      "version=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"custom\"\n"
      "RW {} {} \"-\"\n",
      capacity.count(), type);
  ASSIGN_OR_RETURN(Descriptor descriptor, parse(file, bytes_of(text)));
  return ImageText{.descriptor = std::move(descriptor), .is_extent = true};
}

// A Workstation 3 disk is one file without any text; ESX keeps the descriptor of its deltas apart.
Result<ImageText> read_cowd(const File& file) {
  constexpr std::uint32_t kRootFlag = 1;
  ASSIGN_OR_RETURN(const GrainHeader header, read_grain_header(file));
  const auto& cowd = std::get<CowdHeader>(header);
  if (!cowd.is_workstation3())
    return member_of_disk(file, "a COWD extent, which has no descriptor of its own");
  if ((cowd.flags & kRootFlag) == 0)
    return refuse(file, ErrorCode::kUnsupported,
                  "a Workstation 3 disk with a parent: only those without one are known");
  return made_up_text(file, cowd.capacity, "VMFSSPARSE");
}

// The bytes of the text in a hosted extent; none where there is no text.
Result<std::vector<std::byte>> read_embedded_bytes(const File& file, const SparseHeader& header) {
  std::vector<std::byte> bytes;
  if (header.descriptor_offset.count() != 0) {
    ASSIGN_OR_RETURN(bytes,
                     read_up_to(file, FileOffset(header.descriptor_offset.count() * kSectorSize),
                                header.descriptor_size.count() * kSectorSize));
  }
  if (!bytes.empty() && bytes.front() == std::byte{0})
    bytes.clear();
  return bytes;
}

Result<ImageText> read_embedded(const File& file) {
  ASSIGN_OR_RETURN(const GrainHeader any, read_grain_header(file));
  const auto& header = std::get<SparseHeader>(any);
  const FileOffset begin(header.descriptor_offset.count() * kSectorSize);
  ASSIGN_OR_RETURN(const auto bytes, read_embedded_bytes(file, header));
  if (bytes.empty())
    return member_of_disk(file, "one extent of a split disk: it has no descriptor of its own");
  auto parsed = parse(file, bytes);
  if (!parsed && !is_text(as_text(bytes)))
    return refuse(file, ErrorCode::kUnsupported,
                  "the descriptor in it is no text: the disk is encrypted, or the file is damaged")
        .with_hint(kEncryptedHint);
  ASSIGN_OR_RETURN(Descriptor descriptor, std::move(parsed));
  // A header without a capacity only wraps the descriptor of a disk whose extents are other files.
  if (header.capacity.count() == 0)
    return ImageText{.descriptor = std::move(descriptor), .begin = begin};
  if (descriptor.extents().size() != 1)
    return refuse(file, ErrorCode::kCorrupt,
                  "the embedded descriptor names more than one extent; it can only mean this file");
  return ImageText{
      .descriptor = std::move(descriptor), .begin = begin, .is_extent = true, .header = header};
}

Error with_hint_for_raw(Error error) {
  const std::string hint = error.hint() +
                           "; --salvage does not make a descriptor anew: raw data alone is flat as "
                           "it is (losetup takes it)";
  return std::move(error).with_hint(hint);
}

// Whether the file is an extent with a header and without any text.
Result<bool> lacks_text(const File& file, const GrainHeader& header) {
  if (const auto* hosted = std::get_if<SparseHeader>(&header)) {
    ASSIGN_OR_RETURN(const auto bytes, read_embedded_bytes(file, *hosted));
    return bytes.empty();
  }
  const auto* cowd = std::get_if<CowdHeader>(&header);
  return cowd == nullptr || !cowd->is_workstation3();
}

}  // namespace

Result<ImageText> read_image_text(const File& file) {
  ASSIGN_OR_RETURN(const auto first, read_up_to(file, FileOffset(), kRecognisedBytes));
  switch (const FileKind kind = recognise(first)) {
    case FileKind::kHostedSparse:
      if (first.size() < kSparseHeaderSize)
        return refuse(file, ErrorCode::kCorrupt, "the file ends inside its header");
      return read_embedded(file);
    case FileKind::kCowd:
      return read_cowd(file);
    case FileKind::kDescriptor:
      return read_text_file(file);
    default:
      return is_unfinished(file) ? not_an_image(file, kind).with_hint(kUnfinishedHint)
                                 : not_an_image(file, kind);
  }
}

Result<ImageText> read_image_text_or_make_it_up(const File& file) {
  auto text = read_image_text(file);
  if (text || text.error().code() != ErrorCode::kInvalidArgument)
    return text;
  ASSIGN_OR_RETURN(const auto first, read_up_to(file, FileOffset(), kRecognisedBytes));
  if (recognise(first) == FileKind::kUnknown)
    return with_hint_for_raw(std::move(text).error());
  const auto header = read_grain_header(file);
  if (!header)
    return text;
  ASSIGN_OR_RETURN(const bool lacks, lacks_text(file, *header));
  if (!lacks)
    return text;
  const auto* hosted = std::get_if<SparseHeader>(&*header);
  ASSIGN_OR_RETURN(ImageText made, made_up_text(file, capacity_of(*header),
                                                hosted != nullptr ? "SPARSE" : "VMFSSPARSE"));
  made.made_up = true;
  if (hosted != nullptr)
    made.header = *hosted;
  return made;
}

}  // namespace vmdk
