#include <string>
#include <utility>

#include <vmdk/resize.h>

#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"
#include "vmdkctl/work.h"

namespace vmdkctl {
namespace {

int run_resize(const Usage& usage, const Arguments& arguments) {
  vmdk::ResizeOptions options;
  options.open = open_options(usage, arguments);
  options.open.drop_change_tracking = arguments.has("drop-cbt");
  if (const auto status = offline_force(usage, arguments, options.open); !status)
    return refuse(status.error());
  const auto capacity = parse_size_option(usage, arguments.operands[1]);
  if (!capacity)
    return refuse(capacity.error());
  const std::string& image = arguments.operands[0];
  return do_work(image, arguments, [&](const WorkOptions& work) {
    options.progress = work.progress;
    options.interrupted = work.interrupted;
    vmdk::PosixFileSystem file_system;
    return vmdk::resize_image(file_system, image, *capacity, options);
  });
}

}  // namespace

Verb resize_verb() {
  Usage usage{
      "resize",
      "IMAGE SIZE",
      "Makes a disk longer. What is new reads as zeros; partitions stay as they are.\n"
      "Sparse images are written anew beside themselves, which takes room. A crash\n"
      "leaves the old size or the new one. Snapshots, and images that have some, keep\n"
      "their size.",
      {offline_force_option(),
       {"drop-cbt", 0, OptionKind::kFlag, "", "end the change tracking of what is written to"},
       progress_option()},
      2,
      2};
  usage.add(chain_options());
  return {std::move(usage), run_resize, kFailed};
}

}  // namespace vmdkctl
