// One call below the seam, as the decorating file systems see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vmdk::test {

enum class OpKind {
  kOpen,    // open() and open_beneath()
  kCreate,  // create(), create_hidden(), create_successor() and create_unnamed()
  kRemove,
  kSyncDirectory,
  kList,
  kRead,
  kWrite,
  kGrow,
  kResize,
  kPunch,
  kSync,
  kSize,
  kAllocated,
  kSeek,  // next_data() and next_hole()
  kPrefetch,
  kLock,
  kReveal,  // reveal() and take_place_of()
};
inline constexpr std::size_t kOpKinds = 17;

std::string_view to_string(OpKind kind) noexcept;

struct FileOperation {
  OpKind kind = OpKind::kRead;
  std::string file;          // normal_path() of the file or directory
  std::uint64_t offset = 0;  // bytes; grow and resize: the end wanted
  std::uint64_t length = 0;  // bytes asked for
  std::uint64_t parts = 0;   // of a vectored write
  bool operator==(const FileOperation&) const = default;
};

// "write disk.vmdk at 65536 length 512".
std::string to_string(const FileOperation& operation);

}  // namespace vmdk::test
