#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include <vmdk/convert.h>

#include "base/checked_math.h"
#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/image_types.h"
#include "vmdkctl/interrupts.h"
#include "vmdkctl/output.h"
#include "vmdkctl/progress_line.h"
#include "vmdkctl/sources.h"
#include "vmdkctl/standard_streams.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

constexpr std::string_view kStandardStream = "-";

// A name that promises another format than the one that it would get.
bool named_as_raw(const std::filesystem::path& target) {
  static constexpr std::array<std::string_view, 5> kRawNames{".raw", ".img", ".dd", ".bin", ".iso"};
  return std::find(kRawNames.begin(), kRawNames.end(), target.extension().native()) !=
         kRawNames.end();
}

vmdk::Status choose_type(const Usage& usage, const Arguments& arguments,
                         vmdk::ConvertOptions& options) {
  const auto type = arguments.value("type");
  const std::string& target = arguments.operands[1];
  if (const auto product = arguments.value("for")) {
    if (type || arguments.has("grain"))
      return usage_error(usage, "--for chooses the type and the grain");
    ASSIGN_OR_RETURN(const ProductPreset preset, find_preset(usage, *product));
    options.type = preset.type;
    options.adapter = preset.adapter;
    options.most_bytes = preset.most_bytes;
    return {};
  }
  if (type) {
    ASSIGN_OR_RETURN(options.type, parse_converted_type(usage, *type));
    return {};
  }
  if (named_as_raw(target))
    return usage_error(
        usage, fmt::format("{}: is it to be a raw file? Say --type=raw, or --type=T", target));
  if (target == kStandardStream)
    options.type = vmdk::ImageType::kStreamOptimized;
  return {};
}

vmdk::Result<vmdk::ConvertOptions> options_of(const Usage& usage, const Arguments& arguments) {
  vmdk::ConvertOptions options;
  RETURN_IF_ERROR(choose_type(usage, arguments, options));
  if (const auto grain = arguments.value("grain")) {
    ASSIGN_OR_RETURN(options.grain_size, parse_size_option(usage, *grain));
  }
  if (const auto adapter = arguments.value("adapter"))
    options.adapter = *adapter;
  if (const auto level = arguments.value("level")) {
    if (options.type != vmdk::ImageType::kStreamOptimized)
      return usage_error(usage, "--level: only streamOptimized is compressed");
    ASSIGN_OR_RETURN(const unsigned number, parse_number_option(usage, "level", *level, 1, 12));
    options.level = static_cast<int>(number);
  }
  options.threads = default_threads();
  if (const auto jobs = arguments.value("jobs")) {
    ASSIGN_OR_RETURN(options.threads,
                     parse_number_option(usage, "jobs", *jobs, 1, vmdk::kMostConvertThreads));
  }
  options.verify = arguments.has("verify");
  options.interrupted = Interrupts::pending;
  return options;
}

// A disk of any kind: an image, a raw file, or, in place of both, standard input.
struct AnySource {
  Source opened;
  std::unique_ptr<StandardInput> input;

  vmdk::ByteSource& bytes() const noexcept {
    return input != nullptr ? static_cast<vmdk::ByteSource&>(*input) : *opened.bytes;
  }
};

// What can be refused before anything is opened.
vmdk::Status check_source_words(const Usage& usage, const Arguments& arguments) {
  const auto from = arguments.value("from");
  if (from && *from != "raw")
    return usage_error(usage,
                       fmt::format("--from: \"{}\" is not raw; images say what they are", *from));
  const bool input = arguments.operands[0] == kStandardStream;
  if (input && !from)
    return usage_error(usage, "standard input is read only as a raw disk: --from=raw");
  if (from && (arguments.has("layer") || arguments.has("salvage")))
    return usage_error(usage, "a raw disk has neither layers nor tables to salvage");
  if (arguments.has("size") && !input)
    return usage_error(usage, "--size is for standard input; others know theirs");
  if (input && arguments.has("verify"))
    return usage_error(usage, "--verify: standard input can be read only once");
  if (arguments.operands[1] != kStandardStream)
    return {};
  if (arguments.has("verify"))
    return usage_error(usage, "--verify: standard output cannot be read back");
  return require_no_terminal("> FILE, or | to a program");
}

vmdk::Result<AnySource> open_source(const Usage& usage, const Arguments& arguments,
                                    vmdk::FileSystem& file_system) {
  AnySource source;
  const std::string& name = arguments.operands[0];
  if (name == kStandardStream) {
    std::optional<std::uint64_t> size;
    if (const auto text = arguments.value("size")) {
      ASSIGN_OR_RETURN(size, parse_size_option(usage, *text));
    }
    ASSIGN_OR_RETURN(source.input, StandardInput::open(size));
    return source;
  }
  ASSIGN_OR_RETURN(auto options, source_open_options(usage, arguments));
  ASSIGN_OR_RETURN(source.opened, arguments.has("from")
                                      ? open_raw_source(file_system, name, options.share)
                                      : open_image_source(file_system, name, std::move(options)));
  return source;
}

vmdk::Status convert_to_output(vmdk::FileSystem& file_system, vmdk::ByteSource& source,
                               const vmdk::ConvertOptions& options) {
  StandardOutput output;
  RETURN_IF_ERROR(vmdk::convert_to_sink(file_system, source, output, options));
  return output.end();
}

vmdk::Status convert(const Usage& usage, const Arguments& arguments, vmdk::ConvertOptions options) {
  vmdk::PosixFileSystem file_system;
  ASSIGN_OR_RETURN(const AnySource source, open_source(usage, arguments, file_system));
  if (source.input != nullptr)
    options.input_ended = [&] { return source.input->require_end(); };
  vmdk::ByteSource& bytes = source.bytes();
  // The rules of docs/format.md for all products.
  const auto whole =
      vmdk::padded(bytes, arguments.has("for") ? vmdk::align_up(bytes.capacity(), kProductUnit)
                                               : bytes.capacity());
  const std::string& target = arguments.operands[1];
  ProgressLine line(target, arguments);
  options.progress = line.callback();
  if (target == kStandardStream)
    return convert_to_output(file_system, *whole, options);
  const auto made = vmdk::convert_image(file_system, *whole, target, options);
  return made ? vmdk::Status{} : made.error();
}

int fail(const Arguments& arguments, vmdk::Error error) {
  if (error.errno_value() == EFBIG && arguments.value("for") == "ova")
    error = std::move(error).with_hint(
        "an archive of the old tar format, as OVAs are, has files below 8 GiB: a higher --level, "
        "or "
        "--type=streamOptimized for an OVF beside its disk");
  print_error(error);
  return error.code() == vmdk::ErrorCode::kInvalidArgument ? kUsage : kFailed;
}

int run_convert(const Usage& usage, const Arguments& arguments) {
  auto options = options_of(usage, arguments);
  if (!options)
    return fail(arguments, options.error());
  if (const auto status = check_source_words(usage, arguments); !status)
    return fail(arguments, status.error());
  const auto status = [&] {
    const Interrupts interrupts;
    return convert(usage, arguments, *std::move(options));
  }();
  if (status)
    return kDone;
  const int exit_status = fail(arguments, status.error());
  if (Interrupts::pending())
    Interrupts::die_of_it();
  return exit_status;
}

std::vector<OptionSpec> own_options() {
  return {{"type", 0, OptionKind::kValue, "T",
           "monolithicSparse (default), twoGbMaxExtentSparse,\nmonolithicFlat, twoGbMaxExtentFlat, "
           "vmfs,\nstreamOptimized (default of -), raw"},
          {"for", 0, OptionKind::kValue, "PRODUCT",
           "type and adapter that it takes: workstation, esxi,\nvirtualbox, ova"},
          {"from", 0, OptionKind::kValue, "raw", "SRC is a raw disk; this is never guessed"},
          {"size", 0, OptionKind::kValue, "SIZE", "bytes that will come from a pipe"},
          {"level", 0, OptionKind::kValue, "N", "compression, 1 (fast) to 12 (small) (5)"},
          {"jobs", 'j', OptionKind::kValue, "N", "threads (as many as processors)"},
          {"grain", 0, OptionKind::kValue, "SIZE", "unit of allocation, 4K to 1M (64K)"},
          {"adapter", 0, OptionKind::kValue, "A", "ide, buslogic, lsilogic or legacyESX"},
          {"verify", 0, OptionKind::kFlag, "", "read DST back and compare it with SRC"},
          progress_option(),
          layer_option(),
          salvage_option()};
}

}  // namespace

Verb convert_verb() {
  Usage usage{"convert",
              "SRC DST",
              "Copies a disk into a new image or raw file. SRC: an image with its parents, or,\n"
              "with --from=raw, a file, a block device or - (standard input). DST may be -\n"
              "(standard output). What is all zeros takes no space. No file is overwritten.",
              own_options(),
              2,
              2};
  usage.add(source_options());
  return {std::move(usage), run_convert, kFailed};
}

}  // namespace vmdkctl
