#include "format/encoding.h"

#include <iconv.h>

#include <algorithm>
#include <array>
#include <utility>

#include "format/ascii.h"

namespace vmdk {
namespace {

constexpr std::size_t kLongestName = 40;
// The most bytes of UTF-8 that one byte of another encoding becomes.
constexpr std::size_t kLargestGrowth = 4;

// Descriptors are written on Windows: it means its own tables when it names a standard. In that of
// Shift_JIS, 5C is a yen sign and not the backslash of paths.
constexpr std::array kMeant = {
    std::pair{std::string_view("shift_jis"), std::string_view("CP932")},
    std::pair{std::string_view("gbk"), std::string_view("CP936")},
    std::pair{std::string_view("gb2312"), std::string_view("CP936")},
    std::pair{std::string_view("big5"), std::string_view("CP950")},
};

class Converter {
 public:
  explicit Converter(const std::string& from) : handle_(iconv_open("UTF-8", from.c_str())) {}

  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  ~Converter() {
    if (*this)
      iconv_close(handle_);
  }

  explicit operator bool() const noexcept {
    return handle_ != reinterpret_cast<iconv_t>(-1);  // NOLINT: how iconv says no
  }

  std::optional<std::string> convert(std::string_view text) {
    std::string from(text);
    std::string to(text.size() * kLargestGrowth, '\0');
    char* in = from.data();
    char* out = to.data();
    std::size_t in_left = from.size();
    std::size_t out_left = to.size();
    // Anything but 0 is a byte that cannot be, or one for which the nearest was taken.
    if (iconv(handle_, &in, &in_left, &out, &out_left) != 0 || in_left != 0)
      return std::nullopt;
    to.resize(to.size() - out_left);
    return to;
  }

 private:
  const iconv_t handle_;
};

// What iconv calls it; empty for what is no name of an encoding. A slash would begin an option of
// iconv's.
std::string iconv_name(std::string_view encoding) {
  constexpr std::string_view kWindows = "windows-";
  const bool plain = std::all_of(encoding.begin(), encoding.end(), [](char c) {
    const char l = ascii::lower(c);
    return (l >= 'a' && l <= 'z') || ascii::is_digit(c) ||
           std::string_view("-_.:").find(c) != std::string_view::npos;
  });
  if (!plain || encoding.empty() || encoding.size() > kLongestName)
    return {};
  if (ascii::starts_without_case(encoding, kWindows))
    return "CP" + std::string(encoding.substr(kWindows.size()));
  for (const auto& [stated, meant] : kMeant)
    if (ascii::equal_without_case(stated, encoding))
      return std::string(meant);
  return std::string(encoding);
}

}  // namespace

std::optional<std::string> to_utf8(std::string_view text, std::string_view encoding) {
  const std::string name = iconv_name(encoding);
  if (name.empty() || ascii::equal_without_case(encoding, "UTF-8"))
    return std::nullopt;
  Converter converter(name);
  return converter ? converter.convert(text) : std::nullopt;
}

}  // namespace vmdk
