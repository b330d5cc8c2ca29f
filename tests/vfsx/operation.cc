#include "vfsx/operation.h"

#include <array>
#include <sstream>

#include <fmt/format.h>

namespace vmdk::test {
namespace {

using Kind = Operation::Kind;

constexpr std::array<std::string_view, kOperationKinds> kNames = {
    "read",  "write",     "mapped-read", "mapped-write", "punch",   "zero", "seek",
    "fsync", "fdatasync", "reopen",      "drop-caches",  "remount", "kill"};

std::string_view name_of(Kind kind) noexcept {
  return kNames.at(static_cast<std::size_t>(kind));
}

}  // namespace

bool has_range(Kind kind) noexcept {
  return kind <= Kind::kSeek;
}

bool has_tag(Kind kind) noexcept {
  return kind == Kind::kWrite || kind == Kind::kMappedWrite || kind == Kind::kRemount ||
         kind == Kind::kKill;
}

std::string to_text(const Operation& operation) {
  std::string text(name_of(operation.kind));
  if (has_range(operation.kind))
    text += fmt::format(" {} {}", operation.at, operation.length);
  if (has_tag(operation.kind))
    text += fmt::format(" {}", operation.tag);
  return text;
}

std::optional<Operation> parse_operation(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::string name;
  words >> name;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames.at(i) != name)
      continue;
    Operation operation{.kind = static_cast<Kind>(i)};
    if (has_range(operation.kind))
      words >> operation.at >> operation.length;
    if (has_tag(operation.kind))
      words >> operation.tag;
    std::string rest;
    if (words.fail() || words >> rest)
      return std::nullopt;
    return operation;
  }
  return std::nullopt;
}

}  // namespace vmdk::test
