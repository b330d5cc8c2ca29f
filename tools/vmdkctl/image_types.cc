#include "vmdkctl/image_types.h"

#include <array>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "base/text.h"

namespace vmdkctl {
namespace {

struct NamedType {
  std::string_view name;
  std::optional<vmdk::ImageType> type;  // nullopt: a raw file
};

constexpr std::size_t kCreated = 5;
// Those that can be created come first.
constexpr std::array<NamedType, 7> kTypes{{
    {"monolithicSparse", vmdk::ImageType::kMonolithicSparse},
    {"twoGbMaxExtentSparse", vmdk::ImageType::kTwoGbMaxExtentSparse},
    {"monolithicFlat", vmdk::ImageType::kMonolithicFlat},
    {"twoGbMaxExtentFlat", vmdk::ImageType::kTwoGbMaxExtentFlat},
    {"vmfs", vmdk::ImageType::kVmfs},
    {"streamOptimized", vmdk::ImageType::kStreamOptimized},
    {"raw", std::nullopt},
}};

// An OVA is a tar of the old kind, whose members have lengths of eleven octal digits.
constexpr std::uint64_t kMostInOva = 8 * vmdk::kGiB - 1;

constexpr std::array<ProductPreset, 4> kPresets{{
    {"workstation", vmdk::ImageType::kMonolithicSparse, "ide"},
    {"esxi", vmdk::ImageType::kVmfs, "lsilogic"},
    {"virtualbox", vmdk::ImageType::kMonolithicSparse, "ide"},
    {"ova", vmdk::ImageType::kStreamOptimized, "lsilogic", kMostInOva},
}};

vmdk::Result<NamedType> find_type(const Usage& usage, std::string_view word,
                                  std::span<const NamedType> among) {
  std::vector<std::string_view> known;
  for (const NamedType& candidate : among) {
    if (candidate.name == word)
      return candidate;
    known.push_back(candidate.name);
  }
  return usage_error(usage, fmt::format("unknown type \"{}\"{}; types: {}", word,
                                        suggestion(word, known), vmdk::comma_list(known)));
}

}  // namespace

vmdk::Result<vmdk::ImageType> parse_created_type(const Usage& usage, std::string_view word) {
  // The library knows why it is not created, and what to do.
  if (word == "streamOptimized")
    return vmdk::ImageType::kStreamOptimized;
  ASSIGN_OR_RETURN(const NamedType found,
                   find_type(usage, word, std::span(kTypes).first<kCreated>()));
  return *found.type;
}

vmdk::Result<std::optional<vmdk::ImageType>> parse_converted_type(const Usage& usage,
                                                                  std::string_view word) {
  ASSIGN_OR_RETURN(const NamedType found, find_type(usage, word, kTypes));
  return found.type;
}

vmdk::Result<ProductPreset> find_preset(const Usage& usage, std::string_view word) {
  std::vector<std::string_view> known;
  for (const ProductPreset& preset : kPresets) {
    if (preset.name == word)
      return preset;
    known.push_back(preset.name);
  }
  return usage_error(usage, fmt::format("--for: unknown product \"{}\"{}; products: {}", word,
                                        suggestion(word, known), vmdk::comma_list(known)));
}

}  // namespace vmdkctl
