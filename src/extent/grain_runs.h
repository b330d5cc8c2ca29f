// What grain tables say of a place, as an extent answers it.
#pragma once

#include <cstdint>

#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/extent.h"
#include "extent/grain_tables.h"
#include "extent/record_index.h"

namespace vmdk {

// Extent::lookup() for the kinds with grain tables. Any thread, inside an epoch of the cache.
// `extent_bytes`: of the disk.
Result<Run> run_at(GrainTables& tables, std::uint64_t extent_bytes, ExtentOffset at,
                   std::uint64_t max_length);
// The same for compressed grains of `grain_bytes`.
Result<Run> run_at(RecordIndex& records, std::uint64_t grain_bytes, std::uint64_t extent_bytes,
                   ExtentOffset at, std::uint64_t max_length);

}  // namespace vmdk
