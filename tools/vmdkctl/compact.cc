#include <string>
#include <utility>

#include <fmt/format.h>

#include <vmdk/compact.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/foreign_parent.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"
#include "vmdkctl/work.h"

namespace vmdkctl {
namespace {

void print_report(const std::string& image, const vmdk::CompactReport& report, bool json) {
  if (json) {
    Json object;
    object["schema"] = kSchema;
    put_bytes(object, "image", image);
    object["bytesBefore"] = report.bytes_before;
    object["bytesAfter"] = report.bytes_after;
    print_line(to_text(object));
    return;
  }
  print_line(vmdk::printable(fmt::format("{}: {} now, {} before", image,
                                         vmdk::format_size(report.bytes_after),
                                         vmdk::format_size(report.bytes_before))));
}

int run_compact(const Usage& usage, const Arguments& arguments) {
  vmdk::CompactOptions options;
  options.open = open_options(usage, arguments);
  if (const auto status = offline_force(usage, arguments, options.open); !status)
    return refuse(status.error());
  options.to = arguments.value("to").value_or("");
  if (arguments.has("to") && options.to.empty())
    return refuse(usage_error(usage, "--to: the name is empty"));
  const std::string& image = arguments.operands[0];
  vmdk::CompactReport report;
  const int exit_status = do_work(image, arguments, [&](const WorkOptions& work) -> vmdk::Status {
    options.progress = work.progress;
    options.interrupted = work.interrupted;
    vmdk::PosixFileSystem file_system;
    ASSIGN_OR_RETURN(report, vmdk::compact_image(file_system, image, options));
    return {};
  });
  if (exit_status != kDone)
    return exit_status;
  print_report(options.to.empty() ? image : options.to.native(), report, arguments.has("json"));
  if (!options.to.empty() && !report.parent.empty())
    note_foreign_parent(options.to, report.parent);
  return kDone;
}

}  // namespace

Verb compact_verb() {
  Usage usage{"compact",
              "IMAGE",
              "Gives back the space of grains that are unused or all zeros. IMAGE is written\n"
              "anew beside itself, which takes room, and then takes its own place; a crash\n"
              "leaves the old one or the new one. What it shows stays, and so do its snapshots.",
              {{"to", 0, OptionKind::kValue, "DST", "make a new image, leave IMAGE as it is"},
               {"json", 0, OptionKind::kFlag, "", "one JSON object"},
               offline_force_option(),
               progress_option()},
              1,
              1};
  usage.add(chain_options());
  return {std::move(usage), run_compact, kFailed};
}

}  // namespace vmdkctl
