#include "format/encoding.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>

#include "format/ascii.h"

namespace vmdk {
namespace {

// The most bytes of UTF-8 that one byte of another encoding becomes.
constexpr std::size_t kLargestGrowth = 4;

// Descriptors are written on Windows: it means its own tables when it names a standard. In that of
// Shift_JIS, 5C is a yen sign and not the backslash of paths.
constexpr std::array kMeant = {
    std::pair{std::string_view("shift_jis"), "CP932"},
    std::pair{std::string_view("gbk"), "CP936"},
    std::pair{std::string_view("gb2312"), "CP936"},
    std::pair{std::string_view("big5"), "CP950"},
    std::pair{std::string_view("euc-kr"), "CP949"},
    std::pair{std::string_view("gb18030"), "GB18030"},
};

// Code pages of which a byte below 80 is that of ASCII, as paths need it.
constexpr std::array kCodePages = {874,  932,  936,  949,  950,  1250, 1251,
                                   1252, 1253, 1254, 1255, 1256, 1257, 1258};
constexpr int kLastOfIso8859 = 16;

// The number behind `prefix`, which is compared without case; -1: there is none.
int number_behind(std::string_view text, std::string_view prefix) noexcept {
  if (!ascii::starts_without_case(text, prefix))
    return -1;
  const std::string_view digits = text.substr(prefix.size());
  int number = -1;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && stop == digits.data() + digits.size() ? number : -1;
}

// What iconv calls it; empty for what is none of ours.
std::string iconv_name(std::string_view encoding) {
  const int page = number_behind(encoding, "windows-");
  if (std::find(kCodePages.begin(), kCodePages.end(), page) != kCodePages.end())
    return "CP" + std::to_string(page);
  const int part = number_behind(encoding, "iso-8859-");
  if (part >= 1 && part <= kLastOfIso8859)
    return "ISO-8859-" + std::to_string(part);
  for (const auto& [stated, meant] : kMeant)
    if (ascii::equal_without_case(stated, encoding))
      return meant;
  return {};
}

}  // namespace

bool is_utf8_already(std::string_view encoding) noexcept {
  return encoding.empty() || ascii::equal_without_case(encoding, "UTF-8");
}

std::shared_ptr<NameConverter> NameConverter::open(std::string_view encoding) {
  const std::string name = iconv_name(encoding);
  if (name.empty())
    return nullptr;
  const iconv_t handle = iconv_open("UTF-8", name.c_str());
  if (handle == reinterpret_cast<iconv_t>(-1))  // NOLINT: how iconv says no
    return nullptr;
  return std::shared_ptr<NameConverter>(new NameConverter(handle));
}

NameConverter::~NameConverter() {
  iconv_close(handle_);
}

std::optional<std::string> NameConverter::to_utf8(std::string_view text) {
  std::string from(text);
  std::string to(text.size() * kLargestGrowth, '\0');
  char* in = from.data();
  char* out = to.data();
  std::size_t in_left = from.size();
  std::size_t out_left = to.size();
  // As if nothing had gone before: a letter that waits for its accent, say.
  iconv(handle_, nullptr, nullptr, nullptr, nullptr);
  // Anything but 0 is a byte that cannot be, or one for which the nearest was taken.
  if (iconv(handle_, &in, &in_left, &out, &out_left) != 0 || in_left != 0)
    return std::nullopt;
  // Vietnamese puts accents behind their letters: the last character waits for one.
  if (iconv(handle_, nullptr, nullptr, &out, &out_left) != 0)
    return std::nullopt;
  to.resize(to.size() - out_left);
  return to;
}

}  // namespace vmdk
