#include "disk/path_policy.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/hints.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

fs::path normal(const fs::path& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error);
  fs::path result = (error ? path : absolute).lexically_normal();
  // "/a/b/" and "/a/b" are one folder.
  return result.has_filename() || !result.has_relative_path() ? result : result.parent_path();
}

// The way from `folder` down to `file`, both in normal form; empty when it leads outside.
fs::path beneath(const fs::path& folder, const fs::path& file) {
  const auto [in_folder, in_file] =
      std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  if (in_folder != folder.end() || in_file == file.end())
    return {};
  fs::path way;
  for (auto part = in_file; part != file.end(); ++part)
    way /= *part;
  return way;
}

// "C:\VMs\a-flat.vmdk", "\\server\vm\a-flat.vmdk", "/vmfs/volumes/…/a-flat.vmdk".
bool is_path_of_another_system(const std::string& name) noexcept {
  return name.find('\\') != std::string::npos || (name.size() > 1 && name[1] == ':') ||
         name.starts_with("/vmfs/");
}

// In normal form, so that "/dev/../etc/passwd" is none.
bool is_beneath_dev(const fs::path& name) {
  return name.is_absolute() && !beneath("/dev", name.lexically_normal()).empty();
}

}  // namespace

fs::path folder_of(const fs::path& file) {
  return normal(file).parent_path();
}

fs::path real_path(const fs::path& file) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(file, error);
  return error ? file : real;
}

std::string base_name(const std::string& name) {
  return name.substr(name.find_last_of("/\\") + 1);
}

PathPolicy::PathPolicy(FileSystem& file_system, std::vector<fs::path> allowed, bool devices)
    : file_system_(file_system), devices_(devices) {
  for (const fs::path& folder : allowed)
    allow(folder);
}

void PathPolicy::allow(const fs::path& folder) {
  folders_.push_back(normal(folder));
}

// Files lie in /dev/shm too.
bool PathPolicy::names_device(const std::string& name) const {
  if (!is_beneath_dev(name))
    return false;
  const auto kind = file_system_.kind(fs::path(name).lexically_normal());
  return kind == FileSystem::Kind::kOther || kind == FileSystem::Kind::kNothing;
}

Result<std::unique_ptr<File>> PathPolicy::open(const fs::path& descriptor_folder,
                                               const std::string& name, Access access) const {
  if (name.empty() || name.find('\0') != std::string::npos)
    return Error::make(ErrorCode::kCorrupt, "an empty file name, or one with a NUL byte");
  const fs::path home = normal(descriptor_folder);
  const fs::path wanted = (home / name).lexically_normal();
  Error refusal = Error::make(ErrorCode::kDenied,
                              fmt::format("{}: not looked at: it lies outside the image's folder",
                                          wanted.native()))
                      .with_hint("--allow-dir=DIR allows a folder");
  if (const fs::path way = beneath(home, wanted); !way.empty()) {
    auto file = file_system_.open_beneath(home, way, access);
    // A symbolic link that leads out of the folder may still end in an allowed one.
    if (file || file.error().code() != ErrorCode::kDenied)
      return file;
    refusal = std::move(file).error();
  }
  for (const fs::path& folder : folders_)
    if (const fs::path way = beneath(folder, wanted); !way.empty())
      return file_system_.open_beneath(folder, way, access);
  return refusal;
}

Result<std::unique_ptr<File>> PathPolicy::open_extent(const fs::path& descriptor_folder,
                                                      const std::string& name,
                                                      const std::string& in_utf8,
                                                      Access access) const {
  if (names_device(name)) {
    if (devices_)
      return file_system_.open_device(fs::path(name).lexically_normal(), access);
    return Error::make(ErrorCode::kDenied, fmt::format("{}: a device: not looked at", name))
        .with_hint(kDevicesHint);
  }
  if (in_utf8 != name) {
    auto as_bytes = open(descriptor_folder, name, access);
    if (as_bytes)
      return as_bytes;
  }
  auto as_named = open(descriptor_folder, in_utf8, access);
  if (as_named || !is_path_of_another_system(in_utf8))
    return as_named;
  // A file that is there, and busy say, is the one that was meant.
  if (const ErrorCode why = as_named.error().code();
      why != ErrorCode::kNotFound && why != ErrorCode::kDenied)
    return as_named;
  const std::string last = base_name(in_utf8);
  if (last.empty())
    return as_named;  // in an encoding that is not known, a backslash may be half of a character
  auto beside = open(descriptor_folder, last, access);
  // What a file beside the descriptor answers, a busy one say, tells more than the path's absence.
  return beside || beside.error().code() != ErrorCode::kNotFound ? std::move(beside)
                                                                 : std::move(as_named);
}

}  // namespace vmdk
