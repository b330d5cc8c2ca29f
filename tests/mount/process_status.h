// What /proc tells of a process.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace vmdkfuse::test {

// The values of a line of /proc/PID/status ("CapEff", "Uid") in all threads: each value once.
inline std::set<std::string> in_all_threads(pid_t pid, const std::string& name) {
  std::set<std::string> values;
  std::error_code error;
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", error)) {
    std::ifstream file(thread.path() / "status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(name + ":\t"))
        values.insert(line.substr(name.size() + 2));
    }
  }
  return values;
}

inline std::size_t thread_count(pid_t pid) {
  std::error_code error;
  const std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task",
                                                    error);
  return static_cast<std::size_t>(std::distance(threads, {}));
}

inline std::vector<pid_t> children_of(pid_t pid) {
  const std::string id = std::to_string(pid);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;)
    children.push_back(child);
  return children;
}

// Where the descriptors of a process lead.
inline std::set<std::string> descriptors_of(pid_t pid) {
  std::set<std::string> targets;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error))
    targets.insert(std::filesystem::read_symlink(entry.path(), error).string());
  return targets;
}

}  // namespace vmdkfuse::test
