// What a file is, from its first bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace vmdk {

enum class FileKind {
  kEmpty,
  kHostedSparse,  // "KDMV"
  kCowd,          // "COWD"
  kSeSparse,
  kUnfinishedStream,  // "kdmv": a conversion that was not finished
  kChangeTracking,    // -ctk.vmdk
  kDescriptor,        // text
  kQcow,
  kVhdx,
  kVdi,
  kVhd,  // of VirtualPC; the dynamic kind, which begins with a copy of its footer
  kGzip,
  kOva,      // a tar archive
  kUnknown,  // raw data
};

// `first` is the start of the file: at most the first 4 KiB are looked at, all of them when the
// file has that many (a descriptor is recognised after its comments).
FileKind recognise(std::span<const std::byte> first) noexcept;

// For messages: "a QEMU qcow2 image".
std::string_view describe(FileKind kind) noexcept;

}  // namespace vmdk
