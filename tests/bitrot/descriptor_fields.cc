#include "bitrot/descriptor_fields.h"

#include <algorithm>
#include <array>

namespace vmdk::test {
namespace {

class Splitter {
 public:
  Splitter(const std::string& file, std::uint64_t at, std::string_view text)
      : file_(file), at_(at), text_(text) {}

  std::vector<MetadataField> run() {
    while (position_ < text_.size()) {
      const std::size_t end = std::min(text_.find('\n', position_), text_.size());
      add_line(text_.substr(position_, end - position_));
      if (end < text_.size())
        add(1, "line end");
    }
    return std::move(fields_);
  }

 private:
  void add(std::size_t length, std::string_view name) {
    if (length != 0)
      fields_.push_back({.file = file_,
                         .begin = at_ + position_,
                         .length = length,
                         .name = "text: " + std::string(name)});
    position_ += length;
  }

  void add_line(std::string_view line) {
    if (line.starts_with('#'))
      return add(line.size(), "comment");
    if (line.starts_with("RW "))
      return add_extent(line);
    add(line.size(), line.substr(0, line.find_first_of(" =")));
  }

  void add_extent(std::string_view line) {
    constexpr std::array<std::string_view, 5> kNames = {
        "extent access", "extent length", "extent type", "extent name", "extent offset"};
    for (const std::string_view name : kNames) {
      const std::size_t end = std::min(line.find(' '), line.size());
      add(end, name);
      line.remove_prefix(end);
      if (line.empty())
        return;
      add(1, "extent blank");
      line.remove_prefix(1);
    }
  }

  const std::string& file_;
  const std::uint64_t at_;
  const std::string_view text_;
  std::size_t position_ = 0;
  std::vector<MetadataField> fields_;
};

}  // namespace

std::vector<MetadataField> descriptor_fields(const std::string& file, std::uint64_t at,
                                             std::string_view text) {
  return Splitter(file, at, text).run();
}

}  // namespace vmdk::test
