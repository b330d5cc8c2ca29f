#include "extent/grain_runs.h"

#include <algorithm>

#include "base/checked_math.h"

namespace vmdk {

Result<Run> run_at(GrainTables& tables, std::uint64_t extent_bytes, ExtentOffset at,
                   std::uint64_t max_length) {
  const GrainLayout& layout = tables.layout();
  const std::uint64_t grain = at.bytes() / layout.grain_bytes;
  const std::uint64_t inside = at.bytes() % layout.grain_bytes;
  const std::uint64_t wanted = std::min(max_length, extent_bytes - at.bytes());
  ASSIGN_OR_RETURN(const GrainRun found,
                   tables.scan(grain, ceil_div(inside + wanted, layout.grain_bytes)));
  Run run;
  run.length = std::min(wanted, found.count * layout.grain_bytes - inside);
  switch (found.state) {
    case GrainState::kData:
      run.kind = layout.compressed ? RunKind::kCompressed : RunKind::kData;
      run.where = FileOffset(found.sector * kSectorSize + (layout.compressed ? 0 : inside));
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

}  // namespace vmdk
