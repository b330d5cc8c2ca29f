// Builds tar archives byte by byte: sound ones, odd ones and hostile ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vmdk::test {

struct TarEntry {
  std::string name = {};
  std::string data = {};
  char type = '0';
  std::string prefix = {};
  std::string_view magic = std::string_view("ustar\00000", 8);
  // The 12 bytes of the size field, in place of what the data has.
  std::string size_field = {};
  std::string checksum_field = {};  // in place of the right one
};

// A header and its data, filled up to a block.
std::string tar_entry(const TarEntry& entry);

// GNU's form of a size: the highest byte first, behind 80 00 00 00.
std::string base256_size(std::uint64_t size);

// "27 path=a/b/c.vmdk\n"
std::string pax_record(std::string_view key, std::string_view value);

// The two blocks of zeros that end an archive.
std::string tar_end();

}  // namespace vmdk::test
