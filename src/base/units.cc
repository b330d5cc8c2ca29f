#include <vmdk/units.h>

#include "base/checked_math.h"

namespace vmdk {

Result<std::uint64_t> Sectors::to_bytes() const {
  if (auto bytes = checked_mul(count_, kSectorSize))
    return *bytes;
  return Error::make(ErrorCode::kCorrupt, "a length in sectors does not fit 64 bits of bytes");
}

}  // namespace vmdk
