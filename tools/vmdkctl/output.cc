#include "vmdkctl/output.h"

#include <cstdio>

#include "base/text.h"

namespace vmdkctl {

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out;
}

void print_error(const vmdk::Error& error) {
  // The text has line ends of its own, between and behind its hints.
  std::string_view rest = error.message();
  const char* before = "vmdkctl: ";
  while (true) {
    const std::size_t end = rest.find('\n');
    fmt::print(stderr, "{}{}\n", before, printable(rest.substr(0, end)));
    if (end == std::string_view::npos)
      break;
    rest.remove_prefix(end + 1);
    before = "";
  }
  if (!error.hint().empty())
    fmt::print(stderr, "    hint: {}\n", printable(error.hint()));
}

void print_note(std::string_view text) {
  fmt::print(stderr, "vmdkctl: note: {}\n", printable(text));
}

vmdk::LogSink log_to_stderr() {
  return [](vmdk::LogLevel level, std::string_view text) {
    if (level != vmdk::LogLevel::kInfo)
      fmt::print(stderr, "vmdkctl: {}\n", printable(text));
  };
}

void print_line(std::string_view text) {
  fmt::print("{}\n", text);
}

void put_bytes(Json& object, const std::string& key, std::string_view bytes) {
  object[key] = std::string(bytes);
  if (!vmdk::is_utf8(bytes))
    object[key + "Base64"] = base64(bytes);
}

std::string to_text(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8U | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += k <= count ? kDigits[group >> (18 - 6 * k) & 0x3FU] : '=';
  }
  return out;
}

std::string cid_text(std::uint32_t cid) {
  return fmt::format("{:08x}", cid);
}

}  // namespace vmdkctl
