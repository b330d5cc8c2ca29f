#include "operation_bytes.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "vfsx/campaign.h"
#include "vfsx/disk_subject.h"
#include "vfsx/exerciser.h"
#include "vfsx/images.h"

namespace vmdk::test {
namespace {

using Op = Operation::Kind;

constexpr std::size_t kMostOperations = 48;

constexpr std::array<Op, 16> kKinds = {Op::kWrite, Op::kWrite, Op::kWrite,   Op::kWrite,
                                       Op::kWrite, Op::kRead,  Op::kRead,    Op::kSeek,
                                       Op::kPunch, Op::kPunch, Op::kZero,    Op::kZero,
                                       Op::kFsync, Op::kFsync, Op::kRemount, Op::kKill};

std::uint64_t number(std::span<const std::byte> bytes, std::size_t at) {
  return std::to_integer<std::uint64_t>(bytes[at]);
}

// Half of the edges are grains anywhere, the others the borders of extents and tables and the end.
std::uint64_t edge_of(std::uint64_t chosen, const DiskEdges& edges) {
  constexpr std::uint64_t kHalf = 128;
  if (chosen < kHalf)
    return edges.capacity / kHalf * chosen / edges.grain_size * edges.grain_size;
  const std::uint64_t border = chosen - kHalf;
  return border < edges.extents.size() ? edges.extents[border] : edges.capacity;
}

// From a part of a sector to 256 sectors, mostly few: each has to be remembered and compared.
std::uint64_t length_of(std::uint64_t first, std::uint64_t second, bool in_bytes) {
  const std::uint64_t sectors = (first % 16 + 1) << (second % 5);
  return sectors * kSectorSize - (in_bytes ? 2 * first + 1 : 0);
}

Operation operation_of(std::span<const std::byte> bytes, const DiskEdges& edges, bool kills) {
  constexpr std::uint64_t kInBytes = 16;  // else places are sectors, and lengths whole ones
  const std::uint64_t first = number(bytes, 0);
  Operation operation{.kind = kKinds.at(first % kKinds.size()), .tag = number(bytes, 6)};
  if (operation.kind == Op::kKill && !kills)
    operation.kind = Op::kRemount;
  if (!has_range(operation.kind))
    return operation;
  const bool in_bytes = (first & kInBytes) != 0;
  const std::uint64_t unit = in_bytes ? 1 : kSectorSize;
  const auto distance = static_cast<std::int16_t>(number(bytes, 2) | number(bytes, 3) << 8U);
  const std::uint64_t edge = edge_of(number(bytes, 1), edges);
  const std::uint64_t away = static_cast<std::uint64_t>(std::abs(distance)) * unit;
  const std::uint64_t at = distance < 0 ? edge - std::min(edge, away) : edge + away;
  operation.at = std::min(at, edges.capacity - 1);
  operation.length = std::min(length_of(number(bytes, 4), number(bytes, 5), in_bytes),
                              edges.capacity - operation.at);
  return operation;
}

}  // namespace

Recipe recipe_of(std::span<const std::byte> input, bool kills) {
  static const std::vector<std::string> names = small_image_names();
  Recipe recipe;
  recipe.setup.image = names[input.empty() ? 0 : number(input, 0) % names.size()];
  recipe.setup.tuning = kTunings.at(input.size() < 2 ? 0 : number(input, 1) % kTunings.size());
  const DiskEdges& edges = prepared_image(recipe.setup.image)->edges;
  input = input.subspan(std::min<std::size_t>(2, input.size()));
  while (input.size() >= kOperationBytes && recipe.operations.size() < kMostOperations) {
    recipe.operations.push_back(operation_of(input, edges, kills));
    input = input.subspan(kOperationBytes);
  }
  return recipe;
}

void require_recipe(const Recipe& recipe) {
  const PreparedImage& image = *prepared_image(recipe.setup.image);
  const auto subject = DiskSubject::open(image, recipe.setup);
  const auto failure = subject ? exercise(**subject, image.facts, recipe.operations)
                               : Failure{0, subject.error().to_text()};
  if (!failure)
    return;
  // For vfsx --replay, which can shrink it as well.
  std::fprintf(stderr, "# %s\n%s", describe(recipe, *failure).c_str(), to_text(recipe).c_str());
  std::abort();
}

}  // namespace vmdk::test
