#include "extent/grain_runs.h"

#include <algorithm>

#include "base/checked_math.h"

namespace vmdk {
namespace {

// A request in grains.
struct Wanted {
  Wanted(std::uint64_t grain_size, std::uint64_t extent_bytes, ExtentOffset at,
         std::uint64_t max_length) noexcept
      : grain_bytes(grain_size),
        first(at.bytes() / grain_size),
        inside(at.bytes() % grain_size),
        length(std::min(max_length, extent_bytes - at.bytes())),
        count(ceil_div(inside + length, grain_size)) {}

  std::uint64_t grain_bytes;
  std::uint64_t first;
  std::uint64_t inside;  // bytes of the first grain that are not wanted
  std::uint64_t length;  // bytes
  std::uint64_t count;
};

Run run_of(const GrainRun& found, const Wanted& wanted, bool compressed) {
  Run run;
  run.length = std::min(wanted.length, found.count * wanted.grain_bytes - wanted.inside);
  switch (found.state) {
    case GrainState::kData:
      run.kind = compressed ? RunKind::kCompressed : RunKind::kData;
      run.where = FileOffset(found.sector * kSectorSize + (compressed ? 0 : wanted.inside));
      break;
    case GrainState::kZero:
      run.kind = RunKind::kZero;
      break;
    case GrainState::kBad:
      run.kind = RunKind::kUnreadable;
      break;
    default:
      run.kind = RunKind::kHole;
  }
  return run;
}

}  // namespace

Result<Run> run_at(GrainTables& tables, std::uint64_t extent_bytes, ExtentOffset at,
                   std::uint64_t max_length) {
  const GrainLayout& layout = tables.layout();
  const Wanted wanted(layout.grain_bytes, extent_bytes, at, max_length);
  ASSIGN_OR_RETURN(const GrainRun found, tables.scan(wanted.first, wanted.count));
  return run_of(found, wanted, layout.compressed);
}

Result<Run> run_at(RecordIndex& records, std::uint64_t grain_bytes, std::uint64_t extent_bytes,
                   ExtentOffset at, std::uint64_t max_length) {
  const Wanted wanted(grain_bytes, extent_bytes, at, max_length);
  ASSIGN_OR_RETURN(const GrainRun found, records.scan(wanted.first, wanted.count));
  return run_of(found, wanted, true);
}

}  // namespace vmdk
