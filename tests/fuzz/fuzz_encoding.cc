// Names in every encoding that a descriptor may state: `ENCODING\nNAME`.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "format/encoding.h"
#include "fuzz_input.h"

namespace {

// Whether `text` is UTF-8: no byte out of its place, and no more or fewer of them than needed.
bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || text.size() - at < length)
      return false;
    for (std::size_t i = 1; i < length; ++i)
      if ((static_cast<unsigned char>(text[at + i]) & 0xC0U) != 0x80)
        return false;
    at += length;
  }
  return true;
}

void convert(std::string_view name, std::string_view encoding) {
  const auto converter = vmdk::NameConverter::open(encoding);
  if (converter == nullptr)
    return;
  const std::optional<std::string> converted = converter->to_utf8(name);
  vmdk::test::require(!converted || is_utf8(*converted), "what was converted is UTF-8");
  vmdk::test::require(converter->to_utf8(name) == converted, "nothing is left of the last name");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view name = text.substr(std::min(end + 1, text.size()));
  convert(name, text.substr(0, end));
  for (const char* encoding :
       {"windows-1252", "GBK", "Shift_JIS", "Big5", "EUC-KR", "GB18030", "ISO-8859-5"})
    convert(name, encoding);
  return 0;
}
