#include "format/magic.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "format/ascii.h"
#include "format/descriptor.h"
#include "format/tar.h"

namespace vmdk {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::size_t at;  // bytes
  std::string_view bytes;
  FileKind kind;
};

constexpr std::array kSignatures = {
    Signature{0, "KDMV"sv, FileKind::kHostedSparse},
    Signature{0, "COWD"sv, FileKind::kCowd},
    Signature{0, "\xBE\xBA\xFE\xCA\0\0\0\0"sv, FileKind::kSeSparse},
    Signature{0, "kdmv"sv, FileKind::kUnfinishedStream},
    Signature{0, "\xA2\x72\x19\xF6"sv, FileKind::kChangeTracking},
    Signature{0, "QFI\xFB"sv, FileKind::kQcow},
    Signature{0, "vhdxfile"sv, FileKind::kVhdx},
    Signature{0, "conectix"sv, FileKind::kVhd},
    Signature{64, "\xBE\xDA\x10\x7F"sv, FileKind::kVdi},
    Signature{0, "\x1F\x8B"sv, FileKind::kGzip},
};

bool has(std::span<const std::byte> file, const Signature& signature) noexcept {
  const auto wanted = bytes_of(signature.bytes);
  if (file.size() < signature.at + wanted.size())
    return false;
  const auto found = file.subspan(signature.at, wanted.size());
  return std::equal(found.begin(), found.end(), wanted.begin());
}

// A descriptor without a version in sight is still one when it says so; its parser then tells what
// is wrong with it.
bool is_descriptor(std::string_view text) noexcept {
  return Descriptor::looks_like_one(text) ||
         ascii::starts_without_case(text, "# Disk DescriptorFile") ||
         ascii::starts_without_case(text, "#Disk DescriptorFile");
}

}  // namespace

FileKind recognise(std::span<const std::byte> first) noexcept {
  constexpr std::size_t kLookedAt = 4096;
  if (first.empty())
    return FileKind::kEmpty;
  first = first.first(std::min(first.size(), kLookedAt));
  for (const auto& signature : kSignatures) {
    if (has(first, signature))
      return signature.kind;
  }
  if (is_tar_header(first))
    return FileKind::kOva;
  const std::string_view text(reinterpret_cast<const char*>(first.data()),  // NOLINT: bytes as text
                              first.size());
  return is_descriptor(text) ? FileKind::kDescriptor : FileKind::kUnknown;
}

std::string_view describe(FileKind kind) noexcept {
  switch (kind) {
    case FileKind::kEmpty:
      return "an empty file";
    case FileKind::kHostedSparse:
      return "a VMware hosted sparse extent";
    case FileKind::kCowd:
      return "a VMware COWD (vmfsSparse) extent";
    case FileKind::kSeSparse:
      return "a VMware SESPARSE extent";
    case FileKind::kUnfinishedStream:
      return "an unfinished conversion to a VMware sparse extent";
    case FileKind::kChangeTracking:
      return "a VMware change tracking file";
    case FileKind::kDescriptor:
      return "a VMDK descriptor";
    case FileKind::kQcow:
      return "a QEMU qcow2 image";
    case FileKind::kVhdx:
      return "a Hyper-V VHDX image";
    case FileKind::kVdi:
      return "a VirtualBox VDI image";
    case FileKind::kVhd:
      return "a VirtualPC VHD image";
    case FileKind::kGzip:
      return "a gzip file";
    case FileKind::kOva:
      return "a tar archive (OVA)";
    case FileKind::kUnknown:
      return "raw data";
  }
  return "raw data";
}

}  // namespace vmdk
