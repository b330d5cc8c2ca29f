#include "containers/engine.h"

#include <unistd.h>

#include <chrono>
#include <system_error>

#include "containers/base_archive.h"

namespace vmdkfuse::test {
namespace {

using vmdk::test::CommandResult;
using vmdk::test::run_command;
using vmdk::test::shell_word;

constexpr auto kPatience = std::chrono::minutes(3);

constexpr const char* kImage = "localhost/vmdkfuse-test";

// Limits that a small machine may ask for; nothing in the tests needs more.
constexpr const char* kLimits = "--network=none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024";

std::string last_line(const std::string& text) {
  const std::size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos)
    return "no reason given";
  const std::size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - begin);
}

}  // namespace

const char* Engine::image() noexcept {
  return kImage;
}

const char* Engine::limits() noexcept {
  return kLimits;
}

std::string Engine::command_line(const std::string& arguments) const {
  const std::string folder = dir_.path().string();
  return "podman --root " + shell_word(folder + "/root") + " --runroot " +
         shell_word(folder + "/run") + " --tmpdir " + shell_word(folder + "/tmp") +
         " --storage-driver " + storage_driver_ +
         " --cgroup-manager=cgroupfs --runtime runc --events-backend=none --log-level=error " +
         arguments;
}

CommandResult Engine::podman(const std::string& arguments,
                             std::chrono::milliseconds patience) const {
  return run_command(command_line(arguments), patience);
}

std::string Engine::run_command_line(const std::filesystem::path& work) const {
  return command_line(std::string("run --rm ") + kLimits + " -v " +
                      shell_word(dir_.path().string() + "/programs:/opt/vmdkfuse:ro") + " -v " +
                      shell_word(work.string() + ":/w") +
                      " -e LD_LIBRARY_PATH=/opt/vmdkfuse/lib "
                      "-e PATH=/opt/vmdkfuse/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

CommandResult Engine::run_below(const std::string& before, const std::string& flags,
                                const std::filesystem::path& work,
                                const std::string& script) const {
  const std::string command =
      run_command_line(work) + " " + flags + " " + kImage + " sh -c " + shell_word(script);
  return run_command(before.empty() ? command : before + " sh -c " + shell_word(command),
                     kPatience);
}

CommandResult Engine::run(const std::string& flags, const std::filesystem::path& work,
                          const std::string& script) const {
  return run_below("", flags, work, script);
}

// Empty, or why not.
std::string Engine::import(const std::filesystem::path& archive) {
  const CommandResult result =
      podman("import " + shell_word(archive.string()) + " " + std::string(kImage));
  return result.status == 0 ? "" : "podman import: " + last_line(result.err);
}

std::string Engine::probe() {
  const CommandResult result = podman(std::string("run --rm ") + kLimits + " " + kImage + " true");
  return result.status == 0 ? "" : "podman run: " + last_line(result.err);
}

// With all libraries but those of the C library, which the image has in the same version.
std::string Engine::copy_programs() const {
  const std::string programs = shell_word(VMDKFUSE_PROGRAM) + " " + shell_word(VMDKCTL_PROGRAM);
  const CommandResult result = run_command(
      "cd " + shell_word(dir_.path().string()) + " && mkdir -p programs/bin programs/lib && cp " +
      programs + " programs/bin/ && ldd " + programs +
      " | sed -n 's,.*=> \\(/[^ ]*\\) .*,\\1,p' | sort -u | "
      "grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\\.so' | "
      "xargs -I LIB cp -L LIB programs/lib/");
  return result.status == 0 ? "" : "the programs cannot be copied: " + result.err;
}

std::unique_ptr<Engine> Engine::start(std::string& why_not) {
  if (geteuid() != 0) {
    why_not = "only root can make the image (debootstrap)";
    return nullptr;
  }
  for (const char* program : {"podman", "runc", "debootstrap"}) {
    if (!vmdk::test::have_program(program)) {
      why_not = std::string(program) + " is not installed";
      return nullptr;
    }
  }
  const std::filesystem::path archive = base_archive(why_not);
  if (archive.empty())
    return nullptr;
  // Overlays do not work on every file system; copies do.
  for (const char* driver : {"overlay", "vfs"}) {
    std::unique_ptr<Engine> engine(new Engine());
    engine->storage_driver_ = driver;
    why_not = engine->import(archive);
    if (why_not.empty())
      why_not = engine->probe();
    if (why_not.empty())
      why_not = engine->copy_programs();
    if (why_not.empty())
      return engine;
  }
  return nullptr;
}

Engine::~Engine() {
  podman("rm -a -f -t 0");
  podman("umount -a");
  // The store is a mount by itself.
  const std::string folder = shell_word(dir_.path().string());
  run_command("awk '{print $5}' /proc/self/mountinfo | grep -F " + folder +
              " | sort -r | while read -r each; do umount -l \"$each\"; done");
}

}  // namespace vmdkfuse::test
