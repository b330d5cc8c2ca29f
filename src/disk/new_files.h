// The files of a new image.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>

#include "disk/create_plan.h"

namespace vmdk {

// The files made so far; removes them again unless keep() was called. Each is there whole or not at
// all, whenever the process ends.
class NewFiles {
 public:
  explicit NewFiles(FileSystem& file_system) noexcept : file_system_(&file_system) {}

  NewFiles(NewFiles&& other) noexcept;
  NewFiles& operator=(NewFiles&& other) noexcept;

  ~NewFiles() { static_cast<void>(remove()); }

  // Makes a file: `fill` gets it before it has its name, leaves it durable, and may lock it. EEXIST
  // when something is there.
  Result<std::unique_ptr<File>> make(const std::filesystem::path& path,
                                     const std::function<Status(File& file)>& fill);

  // The paths in the order the files were made.
  std::vector<std::filesystem::path> keep() noexcept { return std::exchange(paths_, {}); }

  // False: not all of them could be.
  bool remove() noexcept;

 private:
  FileSystem* file_system_;
  std::vector<std::filesystem::path> paths_;
};

// Refuses early what is there already; making a file is exclusive all the same.
Status check_absent(FileSystem& file_system, const std::filesystem::path& path);

// Durable when it returns.
Status write_descriptor_file(File& file, std::string_view descriptor);

// As write_new_file(), but not durable.
Status lay_down_new_file(File& file, const NewFile& planned, std::string_view embedded_descriptor);

// Gives the empty file its length and, if it is sparse, its header, directories and descriptor;
// durable when it returns. `embedded_descriptor`: empty for a member of a split image.
Status write_new_file(File& file, const NewFile& planned, std::string_view embedded_descriptor);

}  // namespace vmdk
