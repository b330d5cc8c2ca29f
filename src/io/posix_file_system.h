// The file system of the host.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <vmdk/io.h>

namespace vmdk {

// How open_beneath() looks names up; the answers are the same.
enum class BeneathLookup {
  kAutomatic,  // openat2() where there is one, else the walk
  kWalk,       // component by component, in user space
};

// How a file is kept out of sight until it is whole.
enum class HidingPlace {
  kAutomatic,  // without a name, where the system makes such files and can name them, else as below
  kOtherName,  // under another name in the same folder
};

// Thread-safe: it has no state.
class PosixFileSystem final : public FileSystem {
 public:
  explicit PosixFileSystem(BeneathLookup lookup = BeneathLookup::kAutomatic,
                           HidingPlace hiding_place = HidingPlace::kAutomatic) noexcept
      : lookup_(lookup), hiding_place_(hiding_place) {}

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) override;
  Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& relative,
                                             Access access) override;
  Result<std::unique_ptr<File>> open_device(const std::filesystem::path& path,
                                            Access access) override;
  Result<std::unique_ptr<File>> create(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_hidden(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_successor(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_unnamed(const std::filesystem::path& directory) override;
  Status remove(const std::filesystem::path& path) override;
  Status sync_directory(const std::filesystem::path& directory) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
  Kind kind(const std::filesystem::path& path) const noexcept override;

 private:
  Result<std::unique_ptr<File>> create_out_of_sight(const std::filesystem::path& path);

  const BeneathLookup lookup_;
  const HidingPlace hiding_place_;
};

}  // namespace vmdk
