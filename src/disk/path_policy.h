// Which files an image may name.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>

namespace vmdk {

// A name inside an image opens only beneath the folder of the descriptor that holds it, of a file
// that the user named, or a folder that the user allowed; regular files only. Otherwise a
// stranger's image could make us read /etc/shadow and show it as a disk.
class PathPolicy {
 public:
  // `devices`: extents may be block devices beneath /dev.
  PathPolicy(FileSystem& file_system, std::vector<std::filesystem::path> allowed, bool devices);

  // The folder of a file that the user named.
  void allow(const std::filesystem::path& folder);

  // Whether the name in an extent line stands for a device: it leads beneath /dev, and not to a
  // regular file or a folder there. Where nothing is, the name decides. Only looks.
  bool names_device(const std::string& name) const;

  // Opens `name` as `descriptor_folder` sees it. kDenied when it lies outside, with a message that
  // says that it was not looked at.
  Result<std::unique_ptr<File>> open(const std::filesystem::path& descriptor_folder,
                                     const std::string& name, Access access) const;

  // The same for the file of an extent line. Its name may be in another encoding: the file is
  // looked for under the bytes as they are, then under `in_utf8`. A path of a Windows program or of
  // an ESX host leads nowhere here; its last part is then looked for beside the descriptor.
  Result<std::unique_ptr<File>> open_extent(const std::filesystem::path& descriptor_folder,
                                            const std::string& name, const std::string& in_utf8,
                                            Access access) const;

 private:
  FileSystem& file_system_;
  const bool devices_;
  std::vector<std::filesystem::path> folders_;  // absolute, normal form
};

// The folder of a file, absolute and in normal form.
std::filesystem::path folder_of(const std::filesystem::path& file);

// The file that the path leads to, symbolic links followed as far as they exist.
std::filesystem::path real_path(const std::filesystem::path& file);

// What is behind the last separator of either kind: "C:\VMs\a.vmdk" is "a.vmdk". In UTF-8: in other
// encodings a separator may be half of a character.
std::string base_name(const std::string& name);

}  // namespace vmdk
