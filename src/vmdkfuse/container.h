// Which container this process runs in, and what it is denied there.
#pragma once

#include <string>

namespace vmdkfuse {

enum class Engine { kNone, kDocker, kPodman, kKubernetes, kOther };

// Who else may forbid mounting, whatever the capabilities allow.
enum class Profile { kNone, kAppArmor, kSelinux };

struct Container {
  Engine engine = Engine::kNone;
  std::string manager;          // with kOther: how it calls itself
  bool may_mount = true;        // CAP_SYS_ADMIN is there, for this process or for fusermount3
  bool may_gain_rights = true;  // this process has them, or fusermount3 becomes root
  bool user_namespace = false;  // whose root is not the system's
  Profile profile = Profile::kNone;
};

// Never fails: what cannot be read counts as not there. To be asked before rights are given up.
Container look_at_container();

// "running in a Docker container"; empty outside.
std::string place_of(const Container& container);

}  // namespace vmdkfuse
