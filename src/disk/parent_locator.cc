#include "disk/parent_locator.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/shortage.h"
#include "disk/content_ids.h"
#include "disk/image_file.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

std::string wanted_line(const fs::path& child, const Descriptor& descriptor) {
  const std::string hint = descriptor.in_utf8(descriptor.parent_hint());
  return fmt::format("{}: parent disk not found\n    wanted:    {}content id {:08x}{}",
                     child.native(), hint.empty() ? "" : base_name(hint) + ", ",
                     *descriptor.parent_cid(),
                     hint.empty() ? " (the image has no hint where it is)"
                                  : fmt::format("  (hint in the image: \"{}\")", hint));
}

// "..\base\base.vmdk", but not "C:\base.vmdk" nor "\\server\base.vmdk".
bool is_relative_windows_path(std::string_view hint) noexcept {
  return hint.find('\\') != std::string_view::npos && hint.front() != '\\' &&
         (hint.size() < 2 || hint[1] != ':');
}

std::string with_slashes(std::string path) {
  std::replace(path.begin(), path.end(), '\\', '/');
  return path;
}

// Errors begin with the path, which the list of places shows already.
std::string without_prefix(const std::string& message, const std::string& prefix) {
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

}  // namespace

ParentLocator::ParentLocator(FileSystem& file_system, const PathPolicy& policy,
                             const OpenOptions& options)
    : file_system_(file_system), policy_(policy), options_(options) {}

std::vector<ParentLocator::Place> ParentLocator::places(const fs::path& child,
                                                        const Descriptor& descriptor) {
  std::vector<Place> found;
  const auto add = [&](fs::path path, bool named_by_user) {
    path = path.lexically_normal();
    const auto same = [&](const Place& place) { return place.path == path; };
    if (std::none_of(found.begin(), found.end(), same))
      found.push_back({std::move(path), named_by_user});
  };
  if (next_given_ < options_.parents.size())
    add(options_.parents[next_given_], true);
  if (!descriptor.parent_hint().empty()) {
    const fs::path folder = folder_of(child);
    const std::string hint = descriptor.in_utf8(descriptor.parent_hint());
    if (hint != descriptor.parent_hint())
      add(folder / descriptor.parent_hint(), false);
    add(folder / hint, false);  // an absolute hint stands for itself
    if (is_relative_windows_path(hint))
      add(folder / with_slashes(hint), false);
    add(folder / base_name(hint), false);
    for (const fs::path& search : options_.search_dirs)
      add(std::filesystem::absolute(search) / base_name(hint), false);
  }
  return found;
}

Result<std::unique_ptr<File>> ParentLocator::open(const Place& place, const fs::path& child) const {
  if (place.named_by_user)
    return open_image(file_system_, place.path, Access::kReadOnly);
  const fs::path folder = folder_of(child);
  return open_image([&](const fs::path& path,
                        Access access) { return policy_.open(folder, path.native(), access); },
                    place.path, Access::kReadOnly);
}

Result<FoundParent> ParentLocator::find(const fs::path& child, const Descriptor& descriptor) {
  const std::uint32_t wanted = *descriptor.parent_cid();
  std::string looked_at;
  const auto note = [&](const Place& place, const std::string& answer) {
    looked_at += fmt::format("\n    {} {}: {}", looked_at.empty() ? "looked at:" : "          ",
                             place.path.native(), answer);
  };
  std::optional<FoundParent> stale;
  std::optional<Error> unreadable;  // of a file that may be the one that is wanted
  const auto note_error = [&](const Error& error) {
    if (error.code() == ErrorCode::kIo && !unreadable)
      unreadable = error;
  };
  bool outside = false;
  for (const Place& place : places(child, descriptor)) {
    auto file = open(place, child);
    if (!file && is_shortage(file.error()))
      return std::move(file).error();
    if (!file) {
      note_error(file.error());
      outside = outside || file.error().code() == ErrorCode::kDenied;
      note(place, file.error().code() == ErrorCode::kNotFound
                      ? "no such file"
                      : without_prefix(file.error().message(), place.path.native() + ": "));
      continue;
    }
    auto text = read_image_text(**file);
    if (!text && is_shortage(text.error()))
      return std::move(text).error();
    if (!text) {
      note_error(text.error());
      note(place, text.error().message());
      continue;
    }
    const std::uint32_t cid = text->descriptor.cid();
    const bool fits = match_parent(descriptor, text->descriptor) != ParentMatch::kOther;
    FoundParent parent{(*file)->name(), std::move(*file), std::move(*text)};
    if (fits) {
      // Only a file that was needed is used up: "the next missing parent".
      next_given_ += place.named_by_user ? 1 : 0;
      return parent;
    }
    note(place, fmt::format("its content id is {:08x}", cid));
    if (!stale)
      stale = std::move(parent);
  }
  if (unreadable)
    return std::move(*unreadable)
        .with_context(fmt::format("{}: its parent cannot be read", child.native()))
        .with_hint("--salvage reads what the image has without it");
  if (!stale)
    return Error::make(ErrorCode::kNotFound, wanted_line(child, descriptor) + looked_at)
        .with_hint(fmt::format("--parent=FILE names it, --search=DIR looks in another folder{}, "
                               "--salvage reads what the image has without it",
                               outside ? ", --allow-dir=DIR allows a folder" : ""));
  if (options_.ignore_cid && options_.access == Access::kReadOnly) {
    stale->stale = true;
    return std::move(*stale);
  }
  return Error::make(ErrorCode::kStaleParent,
                     fmt::format("{}: its parent {} has been changed since the snapshot was made: "
                                 "content id {:08x} is wanted, {:08x} is there",
                                 child.native(), stale->path.native(), wanted,
                                 stale->text.descriptor.cid()))
      .with_hint(
          "-r --ignore-cid reads it all the same; what it shows may be wrong; --salvage reads "
          "what the image has without it");
}

}  // namespace vmdk
