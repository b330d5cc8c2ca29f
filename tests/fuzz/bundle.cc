#include "bundle.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>

#include "format/magic.h"
#include "format/tar.h"

namespace vmdk::test {
namespace {

constexpr std::array<std::string_view, 10> kNames = {
    "disk.vmdk",        "disk-s001.vmdk",     "disk-s002.vmdk", "disk-flat.vmdk",
    "disk-delta.vmdk",  "disk-sesparse.vmdk", "parent.vmdk",    "parent-s001.vmdk",
    "parent-flat.vmdk", "parent-delta.vmdk"};
constexpr std::size_t kPrefix = 4;  // name and length
constexpr std::size_t kMaxLength = (std::size_t{1} << 24U) - 1;

std::filesystem::path path_of(std::size_t name) {
  return std::filesystem::path(kBundleFolder) / kNames[name];
}

// "123456", NUL, blank: octal, of all bytes with blanks in this place.
void put_checksum(std::span<std::byte> block) {
  constexpr std::size_t kAt = 148;
  constexpr std::size_t kLength = 8;
  constexpr std::size_t kDigits = 6;
  const auto field = block.subspan(kAt, kLength);
  std::ranges::fill(field, std::byte{' '});
  unsigned sum = std::accumulate(block.begin(), block.end(), 0U, [](unsigned so_far, std::byte b) {
    return so_far + std::to_integer<unsigned>(b);
  });
  field[kDigits] = std::byte{0};
  for (std::size_t digit = kDigits; digit > 0; --digit, sum /= 8)
    field[digit - 1] = static_cast<std::byte>('0' + sum % 8);
}

// The headers one after the other, as far as their sizes lead inside the archive.
void mend_archive(std::span<std::byte> archive) {
  if (recognise(archive) != FileKind::kOva)
    return;
  while (archive.size() >= kTarBlock) {
    const auto block = archive.first(kTarBlock);
    if (std::ranges::all_of(block, [](std::byte b) { return b == std::byte{0}; }))
      return;
    put_checksum(block);
    const auto header = decode_tar_header(block);
    if (!header || !*header)
      return;
    archive = archive.subspan(kTarBlock);
    const std::uint64_t blocks = (*header)->size / kTarBlock + ((*header)->size % kTarBlock != 0);
    archive = archive.subspan(
        static_cast<std::size_t>(std::min<std::uint64_t>(blocks * kTarBlock, archive.size())));
  }
}

}  // namespace

void unpack_bundle(std::span<const std::byte> input, MemoryFileSystem& files) {
  while (input.size() >= kPrefix) {
    const std::size_t name = std::to_integer<std::size_t>(input[0]) % kNames.size();
    const std::size_t length = std::to_integer<std::size_t>(input[1]) |
                               std::to_integer<std::size_t>(input[2]) << 8U |
                               std::to_integer<std::size_t>(input[3]) << 16U;
    input = input.subspan(kPrefix);
    const auto bytes = input.first(std::min(length, input.size()));
    std::vector<std::byte> file(bytes.begin(), bytes.end());
    mend_archive(file);
    files.put(path_of(name), file);
    input = input.subspan(bytes.size());
  }
}

std::vector<std::byte> pack_bundle(const MemoryFileSystem& files) {
  std::vector<std::byte> bundle;
  for (std::size_t name = 0; name < kNames.size(); ++name) {
    const auto path = path_of(name);
    if (!files.exists(path))
      continue;
    const auto bytes = files.contents(path);
    const std::size_t length = std::min(bytes.size(), kMaxLength);
    bundle.push_back(static_cast<std::byte>(name));
    for (const unsigned shift : {0U, 8U, 16U})
      bundle.push_back(static_cast<std::byte>(length >> shift & 0xFFU));
    bundle.insert(bundle.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return bundle;
}

}  // namespace vmdk::test
