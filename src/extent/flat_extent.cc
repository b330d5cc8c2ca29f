#include "extent/flat_extent.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/bytes.h"

namespace vmdk {

Result<Run> FlatExtent::lookup(ExtentOffset at, std::uint64_t max_length) {
  if (at.bytes() >= there_)
    return Run{RunKind::kUnreadable, std::min(max_length, size_ - at.bytes()), FileOffset()};
  return Run{RunKind::kData, std::min(max_length, there_ - at.bytes()), offset_ + at.bytes()};
}

Result<Run> FlatExtent::describe(ExtentOffset at, std::uint64_t max_length) {
  ASSIGN_OR_RETURN(Run run, lookup(at, max_length));
  if (run.kind != RunKind::kData)
    return run;
  const FileOffset end = run.where + run.length;
  ASSIGN_OR_RETURN(const auto data, file_.file().next_data(run.where));
  if (!data || *data > run.where)
    return Run{RunKind::kZero, data ? std::min(run.length, *data - run.where) : run.length,
               FileOffset()};
  ASSIGN_OR_RETURN(const auto hole, file_.file().next_hole(run.where));
  if (hole && *hole < end)
    run.length = *hole - run.where;
  return run;
}

Status FlatExtent::read(FileOffset where, std::span<std::byte> into) const {
  ASSIGN_OR_RETURN(const std::size_t got, file_.file().read(where, into));
  if (got != into.size())
    return Error::make(ErrorCode::kIo, fmt::format("{}: the file ends at byte {}, in the middle of "
                                                   "the extent; it has been cut",
                                                   file_.name(), where.bytes() + got));
  return {};
}

Status FlatExtent::overwrite(FileOffset where, std::span<const std::byte> from) {
  const iovec part = part_of(from);
  return file_.write(where, {&part, 1});
}

Status FlatExtent::clear(ExtentOffset at, std::uint64_t length, ClearTo /*target*/) {
  return file_.punch_hole(offset_ + at.bytes(), length);
}

}  // namespace vmdk
