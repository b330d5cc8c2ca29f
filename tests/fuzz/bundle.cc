#include "bundle.h"

#include <algorithm>
#include <array>
#include <filesystem>

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

}  // namespace

void unpack_bundle(std::span<const std::byte> input, MemoryFileSystem& files) {
  while (input.size() >= kPrefix) {
    const std::size_t name = std::to_integer<std::size_t>(input[0]) % kNames.size();
    const std::size_t length = std::to_integer<std::size_t>(input[1]) |
                               std::to_integer<std::size_t>(input[2]) << 8U |
                               std::to_integer<std::size_t>(input[3]) << 16U;
    input = input.subspan(kPrefix);
    const auto bytes = input.first(std::min(length, input.size()));
    files.put(path_of(name), bytes);
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
