// JSON of this program.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace vmdkfuse {

// JSON shows U+FFFD where the bytes are not UTF-8; then they are there exactly as well.
inline void put_bytes(nlohmann::json& object, const std::string& key, const std::string& bytes) {
  object[key] = bytes;
  if (!vmdk::is_utf8(bytes))
    object[key + "Base64"] = vmdk::base64(bytes);
}

}  // namespace vmdkfuse
