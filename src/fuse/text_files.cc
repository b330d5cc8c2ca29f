#include "fuse/text_files.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vmdkfuse {

void TextFiles::add(std::uint64_t node, std::string name, Provider text) {
  files_.push_back({node, std::move(name), std::move(text)});
}

const TextFiles::File* TextFiles::find(std::uint64_t node) const noexcept {
  const auto found = std::find_if(files_.begin(), files_.end(),
                                  [&](const File& file) { return file.node == node; });
  return found == files_.end() ? nullptr : &*found;
}

const TextFiles::File* TextFiles::look_up(std::string_view name) const noexcept {
  const auto found = std::find_if(files_.begin(), files_.end(),
                                  [&](const File& file) { return file.name == name; });
  return found == files_.end() ? nullptr : &*found;
}

vmdk::Result<std::uint64_t> TextFiles::open(const File& file) {
  auto text = std::make_shared<const std::string>(file.text());
  const std::lock_guard lock(mutex_);
  if (open_.size() >= kMostOpen)
    return vmdk::Error::from_errno(ENFILE, file.name);
  open_.emplace(++last_handle_, std::move(text));
  return last_handle_;
}

std::string TextFiles::read(std::uint64_t handle, std::uint64_t at, std::size_t size) const {
  std::shared_ptr<const std::string> text;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = open_.find(handle); found != open_.end())
      text = found->second;
  }
  return text == nullptr || at >= text->size() ? std::string() : text->substr(at, size);
}

void TextFiles::close(std::uint64_t handle) noexcept {
  const std::lock_guard lock(mutex_);
  open_.erase(handle);
}

}  // namespace vmdkfuse
