// The built vmdkctl, run as a user runs it in a folder of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "io/posix_file_system.h"
#include "support/command.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdk::test {

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    lines.push_back(line);
  return lines;
}

class VmdkctlTest : public testing::Test {
 protected:
  // In the test's own folder.
  CommandResult vmdkctl(const std::string& words) const {
    return run_command(fmt::format("cd {} && {} {}", shell_word(folder_.path().string()),
                                   shell_word(VMDKCTL), words));
  }

  void create(const std::string& words) const {
    const CommandResult result = vmdkctl("create " + words);
    ASSERT_EQ(result.status, 0) << result.to_text();
  }

  nlohmann::json json_of(const std::string& words) const {
    const CommandResult result = vmdkctl(words);
    EXPECT_EQ(result.err, "") << words;
    return nlohmann::json::parse(result.out);  // throws, and so fails the test
  }

  std::filesystem::path path(const std::string& name) const { return folder_ / name; }

  void poke(const std::string& name, std::uint64_t at, std::string_view bytes) const {
    std::fstream file(path(name), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.flush()) << name;
  }

  std::uint32_t load32(const std::string& name, std::uint64_t at) const {
    std::ifstream file(path(name), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    std::uint32_t value = 0;
    file.read(reinterpret_cast<char*>(&value), sizeof value);  // NOLINT: bytes as characters
    EXPECT_TRUE(file) << name;
    return value;
  }

  void write_data(const std::string& image, std::uint64_t at, std::size_t length) const {
    PosixFileSystem file_system;
    ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(file_system, path(image), {}));
    const std::vector<std::byte> bytes(length, std::byte{0x42});
    ASSERT_OK(disk->write(DiskOffset(at), bytes));
    ASSERT_OK(disk->close());
  }

  TempDir folder_;
};

}  // namespace vmdk::test
