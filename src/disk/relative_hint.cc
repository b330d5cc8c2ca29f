#include "disk/relative_hint.h"

#include <system_error>

namespace vmdk {

namespace fs = std::filesystem;

fs::path settled(const fs::path& path) {
  std::error_code ignored;
  fs::path folder = fs::absolute(path, ignored).parent_path();
  const fs::path resolved = fs::weakly_canonical(folder, ignored);
  if (!resolved.empty())
    folder = resolved;
  return folder / path.filename();
}

std::string relative_hint(const fs::path& image, const fs::path& parent) {
  return settled(parent).lexically_relative(settled(image).parent_path()).native();
}

}  // namespace vmdk
