#include "base/seeded_fault.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

namespace vmdk {
namespace {

constexpr char kVariable[] = "VMDK_SEEDED_FAULT";

std::optional<SeededFault> chosen_fault() noexcept {
  const char* const name = std::getenv(kVariable);
  if (name == nullptr)
    return std::nullopt;
  const auto* const found = std::find_if(kSeededFaults.begin(), kSeededFaults.end(),
                                         [&](const auto& one) { return one.name == name; });
  if (found != kSeededFaults.end())
    return found->fault;
  std::fprintf(stderr, "%s=%s: no fault has that name\n", kVariable, name);
  std::abort();
}

}  // namespace

bool seeded(SeededFault fault) noexcept {
  static const std::optional<SeededFault> chosen = chosen_fault();
  return chosen == fault;
}

}  // namespace vmdk
