#include "vmdkctl/create.h"

#include <utility>

#include "base/checked_math.h"
#include "io/posix_file_system.h"
#include "vmdkctl/foreign_parent.h"
#include "vmdkctl/image_types.h"
#include "vmdkctl/interrupts.h"
#include "vmdkctl/output.h"
#include "vmdkctl/progress_line.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

namespace fs = std::filesystem;

vmdk::Result<std::optional<std::uint64_t>> capacity_of(const Usage& usage,
                                                       const Arguments& arguments) {
  const auto option = arguments.value("size");
  const bool operand = arguments.operands.size() > 1;
  if (option && operand)
    return usage_error(usage, "the size is given twice");
  if (!option && !operand) {
    if (!arguments.has("parent"))
      return usage_error(usage, "SIZE is missing");
    return std::optional<std::uint64_t>();
  }
  ASSIGN_OR_RETURN(const std::uint64_t size,
                   parse_size_option(usage, option ? *option : arguments.operands[1]));
  return std::optional(size);
}

vmdk::Result<vmdk::CreateOptions> options_of(const Usage& usage, const Arguments& arguments) {
  vmdk::CreateOptions options;
  if (const auto type = arguments.value("type")) {
    ASSIGN_OR_RETURN(options.type, parse_created_type(usage, *type));
  }
  if (const auto grain = arguments.value("grain")) {
    ASSIGN_OR_RETURN(options.grain_size, parse_size_option(usage, *grain));
  }
  ASSIGN_OR_RETURN(options.capacity, capacity_of(usage, arguments));
  options.adapter = arguments.value("adapter").value_or("");
  if (const auto product = arguments.value("for")) {
    if (arguments.has("type") || arguments.has("grain") || arguments.has("zeroed-grains") ||
        arguments.has("parent"))
      return usage_error(usage, "--for chooses the type and the grain, and makes no children");
    ASSIGN_OR_RETURN(const ProductPreset preset, find_preset(usage, *product));
    options.type = preset.type;
    if (options.adapter.empty())
      options.adapter = preset.adapter;
    options.capacity = vmdk::align_up(*options.capacity, kProductUnit);
  }
  options.zeroed_grains = arguments.has("zeroed-grains");
  options.parent = arguments.value("parent").value_or("");
  if (arguments.has("parent") && options.parent.empty())
    return usage_error(usage, "the parent's name is empty");
  options.parent_options = open_options(usage, arguments);
  return options;
}

int run_create(const Usage& usage, const Arguments& arguments) {
  auto options = options_of(usage, arguments);
  if (!options) {
    print_error(options.error());
    return kUsage;
  }
  return create(arguments.operands[0], *std::move(options), arguments);
}

}  // namespace

int create(const fs::path& image, vmdk::CreateOptions options, const Arguments& arguments) {
  vmdk::PosixFileSystem file_system;
  options.interrupted = Interrupts::pending;
  const auto made = [&] {
    const Interrupts interrupts;
    ProgressLine progress(image.native(), arguments);
    options.progress = progress.callback();
    return vmdk::create_image(file_system, image, options);
  }();
  if (!made) {
    print_error(made.error());
    if (Interrupts::pending())
      Interrupts::die_of_it();
    return made.error().code() == vmdk::ErrorCode::kInvalidArgument ? kUsage : kFailed;
  }
  if (!options.parent.empty())
    note_foreign_parent(image, options.parent);
  return kDone;
}

Verb create_verb() {
  Usage usage{"create",
              "IMAGE [SIZE]",
              "Makes a new, empty image. SIZE: bytes, or with K, M, G, T (powers of 1024); a\n"
              "multiple of 512. A child has its parent's size. No file is ever overwritten.",
              {{"size", 0, OptionKind::kValue, "SIZE", "the same as the operand"},
               {"type", 0, OptionKind::kValue, "T",
                "monolithicSparse (default), monolithicFlat, vmfs,\ntwoGbMaxExtentSparse, "
                "twoGbMaxExtentFlat"},
               {"for", 0, OptionKind::kValue, "PRODUCT",
                "what it takes: workstation, esxi, virtualbox or ova"},
               {"grain", 0, OptionKind::kValue, "SIZE", "unit of allocation, 4K to 1M (64K)"},
               {"adapter", 0, OptionKind::kValue, "A", "ide, buslogic, lsilogic or legacyESX"},
               {"parent", 0, OptionKind::kValue, "P", "make a child (snapshot) over the image P"},
               {"zeroed-grains", 0, OptionKind::kFlag, "", "allow discards over a parent"},
               {"search", 0, OptionKind::kList, "DIR", "look for parents in DIR too"},
               {"allow-dir", 0, OptionKind::kList, "DIR", "files named in P may be below DIR"},
               progress_option()},
              1,
              2};
  return {std::move(usage), run_create, kFailed};
}

}  // namespace vmdkctl
