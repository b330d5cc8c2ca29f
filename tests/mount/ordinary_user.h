// Doing things as somebody who is not root.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "support/command.h"

namespace vmdkfuse::test {

// `command` for the shell, run with these ids and no other groups.
inline std::string as_user(const std::string& uid, const std::string& gid,
                           const std::string& command) {
  return "setpriv --reuid=" + uid + " --regid=" + gid + " --clear-groups sh -c " +
         vmdk::test::shell_word(command);
}

// `command` for the shell, run by root in a mount namespace of its own in which everybody may open
// /dev/fuse, as is usual, but not in every container. Mounts made there are not seen outside.
inline std::string with_open_fuse_device(const std::string& command) {
  return "unshare -m --propagation private sh -c " +
         vmdk::test::shell_word(
             "rm -f fuse-device; mknod -m 666 fuse-device c 10 229 && "
             "mount --bind fuse-device /dev/fuse || exit 95\n" +
             command);
}

// A copy of the program in `folder` that every user can start, as a word for the shell: the folder
// of the build may be root's alone.
inline std::string program_for_everybody(const std::filesystem::path& folder) {
  const std::filesystem::path copy = folder / "vmdkfuse";
  std::filesystem::copy_file(VMDKFUSE_PROGRAM, copy, std::filesystem::copy_options::skip_existing);
  return vmdk::test::shell_word(copy.string());
}

}  // namespace vmdkfuse::test
