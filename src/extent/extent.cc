#include "extent/extent.h"

namespace vmdk {
namespace {

Error not_writable() {
  return Error::make(ErrorCode::kReadOnly, "the extent cannot be written");
}

}  // namespace

Status Extent::read_compressed(ExtentOffset /*at*/, std::span<std::byte> /*into*/) {
  return Error::make(ErrorCode::kIo, "the extent has no compressed grains");
}

Status Extent::overwrite(FileOffset /*where*/, std::span<const std::byte> /*from*/) {
  return not_writable();
}

Result<AllocationAttempt> Extent::allocate(ExtentOffset /*at*/, std::uint64_t /*length*/) {
  return not_writable();
}

Status Extent::wait_until_settled(ExtentOffset /*at*/) {
  return not_writable();
}

Status Extent::clear(ExtentOffset /*at*/, std::uint64_t /*length*/, ClearTo /*target*/) {
  return not_writable();
}

}  // namespace vmdk
