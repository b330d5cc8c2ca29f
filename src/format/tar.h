// The headers of a tar archive: ustar, with what pax and GNU add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <vmdk/result.h>

namespace vmdk {

inline constexpr std::size_t kTarBlock = 512;  // bytes; everything in an archive begins on one

// What the letter in a header says that follows.
enum class TarType {
  kFile,
  kNothing,      // a folder, link, device or FIFO: a header and no data
  kPax,          // records for the next header
  kPaxGlobal,    // records for all that follow
  kGnuLongName,  // the next header's name
  kGnuLongLink,  // the next header's link target
  kGnuSparse,    // a file of which not every byte is stored
  kOther,        // data that only other programs know
};

struct TarHeader {
  TarType type = TarType::kFile;
  std::string name;        // with the prefix
  std::uint64_t size = 0;  // bytes of data behind the header, before they are filled up to a block
};

// Whether a file that begins like this is an archive: its first header says ustar, and has the
// right checksum.
bool is_tar_header(std::span<const std::byte> first) noexcept;

// nullopt: a block of zeros, the end of the archive. kCorrupt: a wrong checksum or a size that is
// none. Requires: block.size() == kTarBlock.
Result<std::optional<TarHeader>> decode_tar_header(std::span<const std::byte> block);

// What we take from the records of a pax header.
struct PaxRecords {
  std::optional<std::string> path;
  std::optional<std::uint64_t> size;  // bytes
  bool sparse = false;                // GNU's: not every byte of the file is stored
};

// `text`: the data of a header of type kPax. kCorrupt when it is not made of records.
Result<PaxRecords> parse_pax_records(std::string_view text);

}  // namespace vmdk
