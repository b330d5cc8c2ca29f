// The words for kinds of images.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include <vmdk/create.h>
#include <vmdk/result.h>

#include "vmdkctl/options.h"

namespace vmdkctl {

// A usage error that lists the types that can be created.
vmdk::Result<vmdk::ImageType> parse_created_type(const Usage& usage, std::string_view word);
// The same for conversions, which know streamOptimized and raw (nullopt) besides.
vmdk::Result<std::optional<vmdk::ImageType>> parse_converted_type(const Usage& usage,
                                                                  std::string_view word);

// What a product takes, by the rules of docs/format.md, sections 2.3, 3.3, 3.7 and 4.
struct ProductPreset {
  std::string_view name;
  vmdk::ImageType type;
  std::string_view adapter;
  std::uint64_t most_bytes = std::numeric_limits<std::uint64_t>::max();  // of the file
};

// The capacity of what is made for a product is a multiple of it, bytes.
inline constexpr std::uint64_t kProductUnit = 64 * vmdk::kKiB;

// Of --for: a usage error that lists the products.
vmdk::Result<ProductPreset> find_preset(const Usage& usage, std::string_view word);

}  // namespace vmdkctl
