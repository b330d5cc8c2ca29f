#include "faults/rooted_file_system.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

namespace vmdk::test {

namespace fs = std::filesystem;

RootedFileSystem::RootedFileSystem(const MemoryFileSystem& files, fs::path root)
    : root_(std::move(root)) {
  fs::create_directories(root_ / "vm");
  for (const std::string& name : files.files()) {
    const fs::path path = below(name);
    fs::create_directories(path.parent_path());
    const std::string text = files.text(name);
    std::ofstream(path, std::ios::binary) << text;
  }
}

void RootedFileSystem::collect(MemoryFileSystem& files) const {
  for (const std::string& name : files.files())
    static_cast<void>(files.remove(name));
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (!entry.is_regular_file())
      continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    files.put("/" + entry.path().lexically_relative(root_).string(), text);
  }
}

fs::path RootedFileSystem::below(const fs::path& path) const {
  const bool is_below =
      std::mismatch(root_.begin(), root_.end(), path.begin(), path.end()).first == root_.end();
  return is_below ? path : root_ / path.relative_path();
}

}  // namespace vmdk::test
