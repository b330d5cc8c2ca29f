// Small files about the mount, whose text is made when they are opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/result.h>

namespace vmdkfuse {

// Thread-safe once requests come; files are added before.
class TextFiles {
 public:
  using Provider = std::function<std::string()>;

  struct File {
    std::uint64_t node = 0;
    std::string name;
    Provider text;
  };

  // So many may be open at once: each keeps its text.
  static constexpr std::size_t kMostOpen = 64;

  void add(std::uint64_t node, std::string name, Provider text);

  const std::vector<File>& listed() const noexcept { return files_; }

  // nullptr: there is none.
  const File* find(std::uint64_t node) const noexcept;
  const File* look_up(std::string_view name) const noexcept;

  // Makes the text, and gives it a number for the other calls. ENFILE: too many are open.
  vmdk::Result<std::uint64_t> open(const File& file);
  // At most `size` bytes; none behind the end.
  std::string read(std::uint64_t handle, std::uint64_t at, std::size_t size) const;
  void close(std::uint64_t handle) noexcept;

 private:
  std::vector<File> files_;
  mutable std::mutex mutex_;
  // guarded by mutex_
  std::map<std::uint64_t, std::shared_ptr<const std::string>> open_;
  std::uint64_t last_handle_ = 0;
};

}  // namespace vmdkfuse
