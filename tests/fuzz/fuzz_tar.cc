// The headers of an archive, and the records of pax.
#include <string_view>

#include "format/tar.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = vmdk::test::fuzz_input(data, size);
  static_cast<void>(vmdk::parse_pax_records({reinterpret_cast<const char*>(data), size}));
  if (input.size() < vmdk::kTarBlock)
    return 0;
  const auto header = vmdk::decode_tar_header(input.first(vmdk::kTarBlock));
  if (header && *header)
    vmdk::test::require((*header)->size <= INT64_MAX, "a file's size is one that a file can have");
  return 0;
}
