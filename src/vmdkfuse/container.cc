#include "vmdkfuse/container.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <fmt/format.h>

#include "vmdkfuse/privileges.h"

namespace vmdkfuse {
namespace {

bool is_there(const char* path) noexcept {
  return access(path, F_OK) == 0;
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A pod's containers may carry the marks of the engine beneath, so the pod comes first.
void find_engine(Container& result) {
  const char* const manager = std::getenv("container");
  if (std::getenv("KUBERNETES_SERVICE_HOST") != nullptr)
    result.engine = Engine::kKubernetes;
  else if (is_there("/.dockerenv"))
    result.engine = Engine::kDocker;
  else if (is_there("/run/.containerenv"))
    result.engine = Engine::kPodman;
  else
    result.manager = manager != nullptr ? manager : first_line("/run/systemd/container");
  if (!result.manager.empty())
    result.engine = Engine::kOther;
}

Profile profile_here() {
  // AppArmor: "NAME (enforce)"; SELinux: "user:role:type:level".
  const std::string label = first_line("/proc/self/attr/current");
  if (label.ends_with("(enforce)"))
    return Profile::kAppArmor;
  return label.find(":container_t:") != std::string::npos ? Profile::kSelinux : Profile::kNone;
}

// The first user namespace maps all numbers to themselves.
bool in_user_namespace() {
  std::ifstream file("/proc/self/uid_map");
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  return file >> inside >> outside >> count && (inside != 0 || outside != 0 || count != UINT32_MAX);
}

}  // namespace

Container look_at_container() {
  Container result;
  find_engine(result);
  // Others than root may have it, too: Podman gives them what it adds.
  const bool own = has_capability(CAP_SYS_ADMIN);
  const bool root = geteuid() == 0;
  result.may_mount = own || (!root && prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 1);
  result.may_gain_rights = own || root || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
  result.user_namespace = in_user_namespace();
  result.profile = profile_here();
  return result;
}

std::string place_of(const Container& container) {
  switch (container.engine) {
    case Engine::kDocker:
      return "running in a Docker container";
    case Engine::kPodman:
      return "running in a Podman container";
    case Engine::kKubernetes:
      return "running in a Kubernetes pod";
    case Engine::kOther:
      return fmt::format("running in a container of {}", container.manager);
    case Engine::kNone:
      break;
  }
  return "";
}

}  // namespace vmdkfuse
