// What the tests of cat, compare and convert share: a folder, the program, a disk with all in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "support/command.h"
#include "support/temp_dir.h"

namespace vmdk::test {

class CopyTest : public testing::Test {
 protected:
  // A shell command in the test's own folder, where $V is vmdkctl.
  CommandResult shell(const std::string& command) const {
    return run_command(fmt::format("cd {} && V={} && {}", shell_word(folder_.path().string()),
                                   shell_word(VMDKCTL), command));
  }

  CommandResult vmdkctl(const std::string& words) const { return shell("\"$V\" " + words); }

  void expect_done(const std::string& command) const {
    const CommandResult result = shell(command);
    EXPECT_EQ(result.status, 0) << command << '\n' << result.to_text();
  }

  std::filesystem::path path(const std::string& name) const { return folder_ / name; }

  std::string load(const std::string& name) const {
    std::string bytes(std::filesystem::file_size(path(name)), '\0');
    std::ifstream stream(path(name), std::ios::binary);
    stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(stream) << name;
    return bytes;
  }

  void save(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }

  // Noise, zeros, text and again zeros, with a word in them; none of it aligned.
  std::string save_raw(const std::string& name, std::uint64_t length) const {
    std::mt19937_64 random(length);
    std::string raw = "first sector";
    for (std::size_t i = 0; i < 150000; ++i)
      raw.push_back(static_cast<char>(random()));
    raw.append(200000, '\0');
    while (raw.size() < 700000)
      raw += fmt::format("line {:10}\n", random() % 1000);
    raw.resize(length, '\0');
    if (length > 3 * kMiB)
      raw.replace(length - 3 * kMiB + 100, 5, "lonely", 5);
    raw.replace(length - 4, 4, "last");
    save(name, raw);
    return raw;
  }

  bool exists(const std::string& name) const { return std::filesystem::exists(path(name)); }

  TempDir folder_;
};

}  // namespace vmdk::test
