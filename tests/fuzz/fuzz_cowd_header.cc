// The header of ESX deltas.
#include "format/cowd_header.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = vmdk::test::fuzz_input(data, size);
  if (input.size() < vmdk::kCowdHeaderSize)
    return 0;
  const auto header = vmdk::decode_cowd_header(input.first<vmdk::kCowdHeaderSize>());
  if (!header)
    return 0;
  for (const std::uint64_t length :
       {std::uint64_t{0}, std::uint64_t{size}, std::uint64_t{1} << 41U, UINT64_MAX}) {
    if (vmdk::validate_against_file(*header, length))
      vmdk::test::require(header->metadata_end() <= length, "the directory lies in the file");
  }
  vmdk::test::require(
      header->table_count() <= header->directory_entries || header->directory_entries == 0,
      "the directory has an entry for each table");
  return 0;
}
