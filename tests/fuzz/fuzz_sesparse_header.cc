// The two headers of SESparse extents.
#include "format/sesparse_header.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = vmdk::test::fuzz_input(data, size);
  if (input.size() < vmdk::kSeSparseHeaderSize)
    return 0;
  const auto first = input.first<vmdk::kSeSparseHeaderSize>();
  static_cast<void>(vmdk::decode_sesparse_journal_state(first));
  const auto header = vmdk::decode_sesparse_header(first);
  if (!header)
    return 0;
  for (const std::uint64_t length :
       {std::uint64_t{0}, std::uint64_t{size}, std::uint64_t{1} << 41U, UINT64_MAX}) {
    if (vmdk::validate_against_file(*header, length))
      vmdk::test::require(header->directory.begin() <= length, "the directory lies in the file");
  }
  return 0;
}
