// File names of programs that do not write UTF-8.
#pragma once

#include <iconv.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace vmdk {

// Whether names in the encoding that a descriptor states need no conversion: "UTF-8", or none.
bool is_utf8_already(std::string_view encoding) noexcept;

// Makes UTF-8 of names in one encoding. One thread at a time.
class NameConverter {
 public:
  // `encoding` as a descriptor states it: "windows-1252" and the other code pages of Windows, GBK,
  // GB18030, Shift_JIS, Big5, EUC-KR, or ISO-8859-1 and the others of its family. nullptr: none of
  // these, or one that iconv(3) of this system lacks.
  static std::shared_ptr<NameConverter> open(std::string_view encoding);

  ~NameConverter();
  NameConverter(const NameConverter&) = delete;
  NameConverter& operator=(const NameConverter&) = delete;

  // nullopt: bytes that are no text in the encoding.
  std::optional<std::string> to_utf8(std::string_view text);

 private:
  explicit NameConverter(iconv_t handle) noexcept : handle_(handle) {}

  const iconv_t handle_;
};

}  // namespace vmdk
