// Short forms of what every test does with a File.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>

#include "base/bytes.h"

namespace vmdk::test {

inline Status write_bytes(File& file, std::uint64_t at, std::span<const std::byte> bytes) {
  const iovec part = part_of(bytes);
  return file.write(FileOffset(at), {&part, 1});
}

inline Status write_text(File& file, std::uint64_t at, std::string_view text) {
  return write_bytes(file, at, bytes_of(text));
}

// At most `length` bytes; fewer where the file ends.
inline Result<std::vector<std::byte>> read_bytes(const File& file, std::uint64_t at,
                                                 std::size_t length) {
  std::vector<std::byte> bytes(length);
  ASSIGN_OR_RETURN(const std::size_t got, file.read(FileOffset(at), bytes));
  bytes.resize(got);
  return bytes;
}

inline Result<std::string> read_text(const File& file, std::uint64_t at, std::size_t length) {
  std::string text(length, '\0');
  ASSIGN_OR_RETURN(const std::size_t got,
                   file.read(FileOffset(at), std::as_writable_bytes(std::span(text))));
  text.resize(got);
  return text;
}

// `length` bytes of one value.
inline std::vector<std::byte> filled(std::size_t length, unsigned value) {
  return std::vector<std::byte>(length, static_cast<std::byte>(value));
}

}  // namespace vmdk::test
