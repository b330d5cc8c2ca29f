// The header of hosted sparse extents, and the footer that may stand for it.
#include "format/sparse_header.h"
#include "format/stream_marker.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using vmdk::test::require;
  const auto input = vmdk::test::fuzz_input(data, size);
  if (input.size() < vmdk::kSparseHeaderSize)
    return 0;
  const auto header = vmdk::decode_sparse_header(input.first<vmdk::kSparseHeaderSize>());
  if (!header)
    return 0;
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{size}, std::uint64_t{1} << 20U,
                                     std::uint64_t{1} << 41U, UINT64_MAX}) {
    static_cast<void>(vmdk::validate_against_file(*header, length));
    static_cast<void>(vmdk::validate_stream_against_file(*header, length));
  }
  const auto encoded = vmdk::encode_sparse_header(*header);
  const auto again = vmdk::decode_sparse_header(encoded);
  require(again.has_value(), "an encoded header can be decoded");
  require(again->capacity == header->capacity && again->grain_size == header->grain_size &&
              again->table_count() == header->table_count(),
          "an encoded header says the same");
  return 0;
}
