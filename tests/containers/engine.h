// A real container engine, Podman with runc, and an image for it that is made here.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "support/command.h"
#include "support/temp_dir.h"

namespace vmdkfuse::test {

// An image of this distribution's smallest system with fuse3 and fuse2fs, in a store of its own
// that goes with the object. The programs under test are not in it: they and their libraries are in
// the folder /opt/vmdkfuse of every container.
class Engine {
 public:
  // Makes the image, from what an earlier run kept of it or with debootstrap from the archive that
  // apt uses. Null when there can be no containers here, with the reason in `why_not`.
  static std::unique_ptr<Engine> start(std::string& why_not);

  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  // Ends and removes all that is left: containers, the store, its mounts.
  ~Engine();

  // Runs the shell command `script` in a new container with these flags of `podman run`; the folder
  // `work` is /w in it.
  vmdk::test::CommandResult run(const std::string& flags, const std::filesystem::path& work,
                                const std::string& script) const;

  // `podman ARGUMENTS` in this engine's store.
  vmdk::test::CommandResult podman(
      const std::string& arguments,
      std::chrono::milliseconds patience = std::chrono::minutes(3)) const;

  // As run(), with what stands before the command line of podman itself.
  vmdk::test::CommandResult run_below(const std::string& before, const std::string& flags,
                                      const std::filesystem::path& work,
                                      const std::string& script) const;

  // The command line that run() uses, up to the flags.
  std::string run_command_line(const std::filesystem::path& work) const;

  // The image's name, which stands after the flags.
  static const char* image() noexcept;

  // Flags for every container, of any image.
  static const char* limits() noexcept;

 private:
  Engine() = default;

  std::string import(const std::filesystem::path& archive);
  std::string probe();
  std::string copy_programs() const;
  std::string command_line(const std::string& arguments) const;

  vmdk::test::TempDir dir_;
  std::string storage_driver_;
};

}  // namespace vmdkfuse::test
