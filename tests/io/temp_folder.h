// A folder of its own for each test, gone with everything in it when the test ends.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>

namespace vmdk {

class TempFolder {
 public:
  TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder();

  const std::filesystem::path& path() const noexcept { return path_; }

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  // A file with this content; folders on the way to it are made.
  std::filesystem::path write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

std::string text_of(const std::filesystem::path& path);

// The whole of a file through the seam; the message of the error when it cannot be read.
std::string text_of(const File& file);

// One write of one part.
Status write_text(File& file, std::uint64_t at, std::string_view text);

}  // namespace vmdk
