// Whether a text stands anywhere in a file, an executable for one.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

namespace vmdk::test {

inline std::string text_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

inline bool file_contains(const std::filesystem::path& path, std::string_view text) {
  return text_of_file(path).find(text) != std::string::npos;
}

// The variable by which a test build is told what to do wrong.
inline constexpr std::string_view kFaultVariable = "VMDK_SEEDED_FAULT";

}  // namespace vmdk::test
