// The descriptor: what was parsed can be edited and parsed again.
#include <algorithm>
#include <string>

#include "format/descriptor.h"
#include "fuzz_input.h"

namespace {

bool same_extents(const vmdk::Descriptor& one, const vmdk::Descriptor& other) {
  return std::ranges::equal(one.extents(), other.extents(), [](const auto& a, const auto& b) {
    return a.access == b.access && a.type == b.type && a.length == b.length &&
           a.file_name == b.file_name && a.offset == b.offset;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using vmdk::test::require;
  const std::string text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(vmdk::Descriptor::looks_like_one(text));
  auto parsed = vmdk::Descriptor::parse(text);
  if (!parsed)
    return 0;
  const std::size_t length = parsed->text().size();
  const auto [begin, end] = parsed->set_content_id(0x12345678, {1, 2, 3});
  require(begin <= end && end <= parsed->text().size(), "the bytes that changed lie in the text");
  require(parsed->text().size() == length, "a new content id has the width of the old one");
  const auto again = vmdk::Descriptor::parse(parsed->text());
  require(again.has_value(), "an edited descriptor can be parsed");
  require(same_extents(*parsed, *again), "an edited descriptor has the same extents");
  return 0;
}
