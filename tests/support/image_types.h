// The types of images that can be created, by the words that stand in their descriptors.
#pragma once

#include <string_view>

#include <vmdk/create.h>

namespace vmdk::test {

constexpr std::string_view name_of(ImageType type) noexcept {
  switch (type) {
    case ImageType::kMonolithicSparse:
      return "monolithicSparse";
    case ImageType::kTwoGbMaxExtentSparse:
      return "twoGbMaxExtentSparse";
    case ImageType::kMonolithicFlat:
      return "monolithicFlat";
    case ImageType::kTwoGbMaxExtentFlat:
      return "twoGbMaxExtentFlat";
    case ImageType::kVmfs:
      return "vmfs";
    case ImageType::kStreamOptimized:
      return "streamOptimized";
  }
  return "";
}

}  // namespace vmdk::test
