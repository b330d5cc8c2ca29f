#include "vmdkfuse/command_line.h"

#include <cstdio>

#include <fmt/format.h>

#include "base/text.h"
#include "vmdkfuse/daemon.h"
#include "vmdkfuse/exit_codes.h"
#include "vmdkfuse/help.h"
#include "vmdkfuse/launcher.h"
#include "vmdkfuse/list_command.h"
#include "vmdkfuse/options.h"
#include "vmdkfuse/output.h"
#include "vmdkfuse/unmount_command.h"

namespace vmdkfuse {
namespace {

int mount(const Options& options) {
  if (options.foreground) {
    Reporter nobody;
    return run_daemon(options, nobody);
  }
  return launch([&](Reporter& reporter) { return run_daemon(options, reporter); });
}

}  // namespace

int run_command_line(std::span<const std::string> arguments) {
  const auto options = parse_options(arguments);
  if (!options) {
    fmt::print(stderr, "vmdkfuse: {}\n", vmdk::printable_lines(options.error().to_text()));
    return kUsage;
  }
  switch (options->action) {
    case Action::kMount:
      return mount(*options);
    case Action::kUnmount:
      return unmount_all(options->arguments);
    case Action::kList:
      return list_mounts(options->json);
    case Action::kHelp:
      return print_result(help_text());
    case Action::kHelpAll:
      return print_result(full_help_text());
    case Action::kVersion:
      return print_result(version_text());
  }
  return kInternal;
}

}  // namespace vmdkfuse
