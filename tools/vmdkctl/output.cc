#include "vmdkctl/output.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/text.h"
#include "vmdkctl/hints.h"

namespace vmdkctl {
namespace {

const Usage* running = nullptr;

}  // namespace

void print_hints_for(const Usage& usage) noexcept {
  running = &usage;
}

void print_error(const vmdk::Error& error) {
  fmt::print(stderr, "vmdkctl: {}\n", vmdk::printable_lines(error.message()));
  if (!error.hint().empty())
    fmt::print(
        stderr, "    hint: {}\n",
        vmdk::printable(running == nullptr ? error.hint() : hint_for(*running, error.hint())));
}

void print_note(std::string_view text) {
  fmt::print(stderr, "vmdkctl: note: {}\n", vmdk::printable(text));
}

vmdk::LogSink log_to_stderr() {
  return [](vmdk::LogLevel level, std::string_view text) {
    if (level != vmdk::LogLevel::kInfo)
      fmt::print(stderr, "vmdkctl: {}\n", vmdk::printable(text));
  };
}

void print_line(std::string_view text) {
  fmt::print("{}\n", text);
}

void flush_lines() {
  if (std::fflush(stdout) != 0)
    throw std::system_error(errno, std::generic_category());
}

void put_bytes(Json& object, const std::string& key, std::string_view bytes) {
  object[key] = std::string(bytes);
  if (!vmdk::is_utf8(bytes))
    object[key + "Base64"] = vmdk::base64(bytes);
}

void put_salvaged(Json& object, const std::vector<std::string>& lines, std::uint64_t count) {
  object["salvagedCount"] = count;
  object["salvaged"] = Json::array();
  for (const std::string& line : lines)
    object["salvaged"].push_back(line);
}

std::string to_text(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string cid_text(std::uint32_t cid) {
  return fmt::format("{:08x}", cid);
}

}  // namespace vmdkctl
