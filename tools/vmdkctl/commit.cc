#include <string>
#include <utility>

#include <fmt/format.h>

#include <vmdk/commit.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"
#include "vmdkctl/work.h"

namespace vmdkctl {
namespace {

void print_report(const std::string& child, const vmdk::CommitReport& report, bool json) {
  if (json) {
    Json object;
    object["schema"] = kSchema;
    put_bytes(object, "image", child);
    put_bytes(object, "parent", report.parent.native());
    object["heldBytes"] = report.held;
    object["writtenBytes"] = report.written;
    print_line(to_text(object));
    return;
  }
  print_line(vmdk::printable(fmt::format("{}: in {} now: {} written, of {} that it holds", child,
                                         report.parent.native(), vmdk::format_size(report.written),
                                         vmdk::format_size(report.held))));
}

int run_commit(const Usage& usage, const Arguments& arguments) {
  vmdk::CommitOptions options;
  options.open = open_options(usage, arguments);
  if (const auto status = writing_options(usage, arguments, options.open); !status)
    return refuse(status.error());
  const std::string& child = arguments.operands[0];
  vmdk::CommitReport report;
  const int exit_status = do_work(child, arguments, [&](const WorkOptions& work) -> vmdk::Status {
    options.progress = work.progress;
    options.interrupted = work.interrupted;
    vmdk::PosixFileSystem file_system;
    ASSIGN_OR_RETURN(report, vmdk::commit_child(file_system, child, options));
    return {};
  });
  if (exit_status == kDone)
    print_report(child, report, arguments.has("json"));
  return exit_status;
}

}  // namespace

Verb commit_verb() {
  Usage usage{"commit",
              "CHILD",
              "Brings what a snapshot holds into its parent. The parent then shows the same\n"
              "disk; CHILD stays and can be removed, or written to. It shows the disk at any\n"
              "moment, also after a crash or an interruption; its parent by itself does so in\n"
              "the end. The same command goes on with what did not end.",
              {{"json", 0, OptionKind::kFlag, "", "one JSON object"}, progress_option()},
              1,
              1};
  usage.add(writing_option_specs());
  usage.add(chain_options());
  return {std::move(usage), run_commit, kFailed};
}

}  // namespace vmdkctl
