#include "disk/virtualbox_keys.h"

#include <random>
#include <string_view>

#include <fmt/format.h>

namespace vmdk {
namespace {

constexpr std::string_view kNobody = "00000000-0000-0000-0000-000000000000";
constexpr std::string_view kParentKeys = "ddb.uuid.parent";  // and ...parentmodification

// Version 4: random.
std::string new_uuid() {
  std::random_device random;
  const auto half = [&random] { return random() & 0xFFFFU; };
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", random(), half(), half() & 0xFFFU,
                     (half() & 0x3FFFU) | 0x8000U, half(), random());
}

}  // namespace

std::vector<std::pair<std::string, std::string>> virtualbox_keys(const Descriptor& parent) {
  const std::string uuid = parent.value("ddb.uuid.image").value_or("");
  if (uuid.empty())
    return {};
  const std::string modification = parent.value("ddb.uuid.modification").value_or("");
  return {
      {"ddb.uuid.image", new_uuid()},
      {"ddb.uuid.modification", std::string(kNobody)},
      {"ddb.uuid.parent", uuid},
      {"ddb.uuid.parentmodification", modification.empty() ? std::string(kNobody) : modification}};
}

Result<Descriptor> with_virtualbox_parent(const Descriptor& child, const Descriptor& parent) {
  Descriptor changed = child;
  for (const auto& [key, value] : virtualbox_keys(parent)) {
    if (!key.starts_with(kParentKeys) && !child.value(key).value_or("").empty())
      continue;
    ASSIGN_OR_RETURN(changed, changed.with_value(key, value));
  }
  return changed;
}

}  // namespace vmdk
