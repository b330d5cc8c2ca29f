#include "support/tar_builder.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace vmdk::test {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kChecksumAt = 148;

}  // namespace

std::string tar_entry(const TarEntry& entry) {
  std::string block(kBlock, '\0');
  const auto put = [&](std::size_t at, std::string_view text) {
    std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, entry.name.substr(0, 100));
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, entry.size_field.empty() ? fmt::format("{:011o}", entry.data.size()) : entry.size_field);
  put(136, "14000000000");
  put(156, std::string(1, entry.type));
  put(257, entry.magic);
  put(345, entry.prefix.substr(0, 155));
  put(kChecksumAt, "        ");
  const unsigned sum = std::accumulate(block.begin(), block.end(), 0U, [](unsigned so_far, char c) {
    return so_far + static_cast<unsigned char>(c);
  });
  put(kChecksumAt,
      entry.checksum_field.empty() ? fmt::format("{:06o}", sum) : entry.checksum_field);
  if (entry.checksum_field.empty())
    block[kChecksumAt + 6] = '\0';
  block += entry.data;
  block.resize((block.size() + kBlock - 1) / kBlock * kBlock, '\0');
  return block;
}

std::string base256_size(std::uint64_t size) {
  std::string field("\x80\0\0\0", 4);
  for (int shift = 56; shift >= 0; shift -= 8)
    field += static_cast<char>(size >> shift & 0xFFU);
  return field;
}

std::string pax_record(std::string_view key, std::string_view value) {
  std::size_t length = key.size() + value.size() + 3;
  while (fmt::format("{} {}={}\n", length, key, value).size() != length)
    ++length;
  return fmt::format("{} {}={}\n", length, key, value);
}

std::string tar_end() {
  return std::string(2 * kBlock, '\0');
}

}  // namespace vmdk::test
