#include "extent/written_kinds.h"

#include <fmt/format.h>

#include "base/checked_math.h"
#include "base/hints.h"

namespace vmdk {

std::string why_not_written(const SparseHeader& header) {
  if (header.is_compressed())
    return "streamOptimized images are read-only by nature";
  if (header.version > 2)
    return fmt::format("header version {} is read-only", header.version);
  return {};
}

std::string why_not_written(const CowdHeader& header) {
  constexpr std::uint32_t kWrittenFlags = 3;
  if (header.is_workstation3())
    return "Workstation 3 disks are only read";
  if ((header.flags & ~kWrittenFlags) != 0)
    return fmt::format("flags {:#x} of its header are not known", header.flags);
  if (!is_power_of_two(header.grain_size.count()))
    return fmt::format("grains of {} sectors", header.grain_size.count());
  return {};
}

std::string why_not_written(const SeSparseHeader& /*header*/) {
  return "SESparse extents are only read";
}

Error not_written(const File& file, std::string_view why) {
  return Error::make(ErrorCode::kUnsupported,
                     fmt::format("{}: not opened for writing: {}", file.name(), why))
      .with_hint(never_writable_hint());
}

}  // namespace vmdk
