// What the command line asks for.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/result.h>
#include <vmdk/units.h>

#include "vmdkfuse/log.h"
#include "vmdkfuse/privileges.h"

namespace vmdkfuse {

enum class Action { kMount, kUnmount, kList, kHelp, kHelpAll, kVersion };

enum class SandboxChoice { kAuto, kOn, kOff };

enum class CacheChoice { kAuto, kWriteback, kWritethrough, kNone };

struct Options {
  Action action = Action::kMount;
  std::vector<std::string> arguments;  // IMAGE MOUNTPOINT, or the MOUNTPOINTs of -u

  bool read_only = false;
  bool insist_on_writing = false;  // no read-only mount where the image is write-protected
  bool salvage = false;
  bool share = false;
  bool force_children = false;
  bool force_stale_lck = false;
  bool force_journal = false;
  bool force_tables = false;
  bool drop_cbt = false;
  bool allow_devices = false;
  std::vector<std::filesystem::path> allow_dirs;
  std::string overlay;  // a file, or "tmp"; empty: none

  std::string layer;  // number or name; empty: the image
  std::vector<std::filesystem::path> parents;
  std::vector<std::filesystem::path> search_dirs;
  bool ignore_cid = false;

  bool partitions = true;
  bool layers = true;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<mode_t> mode;

  CacheChoice cache = CacheChoice::kAuto;
  std::uint64_t commit_seconds = 5;
  std::uint32_t batch_grains = 512;
  std::uint64_t table_cache = 256 * vmdk::kMiB;
  std::optional<unsigned> threads;
  bool tune_bdi = false;

  std::optional<Account> account;  // whom root hands the daemon to
  SandboxChoice sandbox = SandboxChoice::kAuto;

  bool foreground = false;
  bool trace = false;
  bool single_thread = false;
  std::string pid_file;
  std::optional<int> ready_fd;
  std::string log_file;
  LogThreshold log_threshold = LogThreshold::kWarning;
  bool replace_stale = false;
  bool json = false;

  // For the kernel, fusermount3 or libfuse; escaped as they came.
  std::vector<std::string> mount_options;
  unsigned max_read = 0;  // what `max_read=` among them says
};

// `arguments` without the program's name. kInvalidArgument with a message for the user.
vmdk::Result<Options> parse_options(std::span<const std::string> arguments);

// Every long option, without dashes. Storage is static.
std::vector<std::string_view> option_names();

}  // namespace vmdkfuse
