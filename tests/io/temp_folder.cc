#include "temp_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

#include "base/bytes.h"

namespace vmdk {

TempFolder::TempFolder() {
  auto name = (std::filesystem::temp_directory_path() / "vmdk-io-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), name);
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path TempFolder::write(std::string_view name, std::string_view content) const {
  const auto path = path_ / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string text_of(const File& file) {
  const auto size = file.size();
  if (!size)
    return size.error().message();
  std::string text(*size + 1, '\0');  // one more, to see that the file ends there
  const auto got = file.read(FileOffset(0), std::as_writable_bytes(std::span(text)));
  if (!got)
    return got.error().message();
  text.resize(*got);
  return text;
}

Status write_text(File& file, std::uint64_t at, std::string_view text) {
  const iovec part = part_of(bytes_of(text));
  return file.write(FileOffset(at), std::span(&part, 1));
}

}  // namespace vmdk
