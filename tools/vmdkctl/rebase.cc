#include <string>
#include <utility>

#include <fmt/format.h>

#include <vmdk/rebase.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/foreign_parent.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"
#include "vmdkctl/work.h"

namespace vmdkctl {
namespace {

void print_report(const std::string& image, const std::string& parent,
                  const vmdk::RebaseReport& report, bool json) {
  if (json) {
    Json object;
    object["schema"] = kSchema;
    put_bytes(object, "image", image);
    put_bytes(object, "parent", parent);
    object["writtenBytes"] = report.written;
    print_line(to_text(object));
    return;
  }
  print_line(vmdk::printable(fmt::format("{}: over {} now, {} written", image, parent,
                                         vmdk::format_size(report.written))));
}

int run_rebase(const Usage& usage, const Arguments& arguments) {
  vmdk::RebaseOptions options;
  options.open = open_options(usage, arguments);
  if (const auto status = writing_options(usage, arguments, options.open); !status)
    return refuse(status.error());
  options.unsafe = arguments.has("unsafe");
  const std::string& image = arguments.operands[0];
  const std::string& parent = arguments.operands[1];
  vmdk::RebaseReport report;
  const int exit_status = do_work(image, arguments, [&](const WorkOptions& work) -> vmdk::Status {
    options.progress = work.progress;
    options.interrupted = work.interrupted;
    vmdk::PosixFileSystem file_system;
    ASSIGN_OR_RETURN(report, vmdk::rebase_image(file_system, image, parent, options));
    return {};
  });
  if (exit_status != kDone)
    return exit_status;
  print_report(image, parent, report, arguments.has("json"));
  note_foreign_parent(image, parent);
  return kDone;
}

}  // namespace

Verb rebase_verb() {
  Usage usage{
      "rebase",
      "IMAGE PARENT",
      "Puts a snapshot over another image of the same size. What it would show\n"
      "differently is written to it first, so that it shows the same at any moment; the\n"
      "same command goes on with what did not end.",
      {{"unsafe", 0, OptionKind::kFlag, "",
        "change the descriptor alone: for a parent that was\nmoved, or that shows the same"},
       {"json", 0, OptionKind::kFlag, "", "one JSON object"},
       progress_option()},
      2,
      2};
  usage.add(writing_option_specs());
  usage.add(chain_options());
  return {std::move(usage), run_rebase, kFailed};
}

}  // namespace vmdkctl
