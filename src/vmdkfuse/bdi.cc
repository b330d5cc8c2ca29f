#include "vmdkfuse/bdi.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>

#include "io/unique_fd.h"

namespace vmdkfuse {
namespace {

struct Setting {
  const char* name;
  const char* value;
};

// strict_limit first: while it is on, max_ratio counts from the first dirty page. The disk beneath
// needs its share of the dirty pages too, hence 40 percent and no more.
constexpr std::array<Setting, 3> kSettings = {
    Setting{"strict_limit", "0"}, Setting{"max_ratio", "40"}, Setting{"read_ahead_kb", "1024"}};

std::string read_value(const std::string& path) {
  const vmdk::UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  const ssize_t got = file ? read(file.get(), text.data(), text.size()) : -1;
  std::string value(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!value.empty() && value.back() == '\n')
    value.pop_back();
  return value;
}

}  // namespace

std::vector<std::string> tune_bdi(dev_t device) {
  if (geteuid() != 0)
    return {"--tune-bdi: nothing was changed: only root can"};
  std::vector<std::string> lines;
  for (const Setting& setting : kSettings) {
    const std::string path =
        fmt::format("/sys/class/bdi/{}:{}/{}", major(device), minor(device), setting.name);
    const std::string before = read_value(path);
    const vmdk::UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    const std::string_view value(setting.value);
    if (file && write(file.get(), value.data(), value.size()) >= 0)
      lines.push_back(fmt::format("{}: {} -> {}", setting.name, before, read_value(path)));
    else
      lines.push_back(fmt::format("{}: {}, not changed: {}", setting.name,
                                  before.empty() ? "unknown" : before,
                                  std::generic_category().message(errno)));
  }
  return lines;
}

}  // namespace vmdkfuse
