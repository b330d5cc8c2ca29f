#include <string>
#include <utility>

#include <vmdk/disk.h>

#include "io/posix_file_system.h"
#include "vmdkctl/create.h"
#include "vmdkctl/image_types.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

// As VMware makes children: split where the parent is, with grains of its size.
void take_after(const vmdk::LayerInfo& parent, bool type_chosen, bool grain_chosen,
                vmdk::CreateOptions& options) {
  const bool split =
      parent.create_type.starts_with("twoGb") || parent.create_type.starts_with("2Gb");
  if (split && !type_chosen)
    options.type = vmdk::ImageType::kTwoGbMaxExtentSparse;
  for (const vmdk::ExtentInfo& extent : parent.extents) {
    // Smaller or larger ones, which others have made, are not made here.
    const bool possible = extent.grain_size >= 4 * vmdk::kKiB && extent.grain_size <= vmdk::kMiB;
    if (possible && !grain_chosen)
      options.grain_size = extent.grain_size;
  }
}

vmdk::Result<vmdk::CreateOptions> options_of(const Usage& usage, const Arguments& arguments) {
  vmdk::CreateOptions options;
  const auto type = arguments.value("type");
  if (type) {
    ASSIGN_OR_RETURN(options.type, parse_created_type(usage, *type));
  }
  const auto grain = arguments.value("grain");
  if (grain) {
    ASSIGN_OR_RETURN(options.grain_size, parse_size_option(usage, *grain));
  }
  options.zeroed_grains = arguments.has("zeroed-grains");
  options.parent = arguments.operands[0];
  options.parent_options = open_options(usage, arguments);
  vmdk::PosixFileSystem file_system;
  vmdk::OpenOptions look = options.parent_options;
  look.log = {};
  ASSIGN_OR_RETURN(const vmdk::DiskInfo info,
                   vmdk::Disk::look(file_system, options.parent, std::move(look)));
  take_after(info.layers.front(), type.has_value(), grain.has_value(), options);
  return options;
}

int run_snapshot(const Usage& usage, const Arguments& arguments) {
  auto options = options_of(usage, arguments);
  if (!options) {
    print_error(options.error());
    return options.error().code() == vmdk::ErrorCode::kInvalidArgument ? kUsage : kFailed;
  }
  return create(arguments.operands[1], *std::move(options), arguments);
}

}  // namespace

Verb snapshot_verb() {
  Usage usage{"snapshot",
              "IMAGE CHILD",
              "Makes CHILD, a snapshot of IMAGE: it shows the same disk and takes the writes\n"
              "from now on. IMAGE stays as it is and must not be written to any more, which\n"
              "would make CHILD unreadable; where they lie side by side, that is refused.",
              {{"type", 0, OptionKind::kValue, "T",
                "kind of CHILD (monolithicSparse; over a split IMAGE\ntwoGbMaxExtentSparse)"},
               {"grain", 0, OptionKind::kValue, "SIZE", "unit of allocation, 4K to 1M (IMAGE's)"},
               {"zeroed-grains", 0, OptionKind::kFlag, "",
                "allow discards; VirtualBox does not open such a CHILD"},
               progress_option()},
              2,
              2};
  usage.add(chain_options());
  return {std::move(usage), run_snapshot, kFailed};
}

}  // namespace vmdkctl
