#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <vmdk/convert.h>
#include <vmdk/partitions.h>

#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/progress_line.h"
#include "vmdkctl/sources.h"
#include "vmdkctl/standard_streams.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

// A part of the disk.
struct Range {
  vmdk::DiskOffset begin;
  std::uint64_t length = 0;  // bytes
};

vmdk::Result<Range> range_of(const Usage& usage, const Arguments& arguments,
                             std::uint64_t capacity) {
  Range range{vmdk::DiskOffset(0), capacity};
  if (const auto offset = arguments.value("offset")) {
    ASSIGN_OR_RETURN(const std::uint64_t bytes, parse_size_option(usage, *offset));
    if (bytes > capacity)
      return usage_error(usage, fmt::format("--offset: {} is behind the end of the disk, which has "
                                            "{} bytes",
                                            *offset, capacity));
    range = {vmdk::DiskOffset(bytes), capacity - bytes};
  }
  if (const auto length = arguments.value("length")) {
    ASSIGN_OR_RETURN(const std::uint64_t bytes, parse_size_option(usage, *length));
    range.length = std::min(range.length, bytes);
  }
  return range;
}

std::string numbers_of(const vmdk::PartitionTable& table) {
  std::string text;
  for (const vmdk::Partition& partition : table.partitions)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", partition.number);
  return text.empty() ? "no partition" : "partitions " + text;
}

// Whatever is odd about the table, the right bytes are those that the user meant.
vmdk::Result<Range> partition_range(const Usage& usage, std::string_view wanted, vmdk::Disk& disk) {
  constexpr unsigned kMostGptEntries = 8192;
  ASSIGN_OR_RETURN(const unsigned number,
                   parse_number_option(usage, "partition", wanted, 1, kMostGptEntries));
  ASSIGN_OR_RETURN(const vmdk::PartitionTable table, vmdk::read_partition_table(disk));
  for (const std::string& warning : table.warnings)
    print_note(warning);
  for (const vmdk::Partition& partition : table.partitions) {
    if (partition.number == number)
      return Range{partition.begin, partition.length};
  }
  return usage_error(usage, fmt::format("--partition: the disk has {}, and none with the number {}",
                                        numbers_of(table), number));
}

vmdk::Result<Range> wanted_range(const Usage& usage, const Arguments& arguments,
                                 const Source& source) {
  const auto partition = arguments.value("partition");
  if (!partition)
    return range_of(usage, arguments, source.bytes->capacity());
  if (arguments.has("offset") || arguments.has("length"))
    return usage_error(usage, "--partition does not go with --offset and --length");
  return partition_range(usage, *partition, *source.disk);
}

vmdk::Status write_range(const Source& source, const Range& range, const std::string& label,
                         const Arguments& arguments) {
  StandardOutput output;
  ProgressLine line(label, arguments);
  vmdk::ConvertOptions options;
  options.threads = default_threads();
  options.progress = line.callback();
  const auto copied = vmdk::copy_to_sink(*source.bytes, range.begin, range.length, output, options);
  // Also after an error: zeros before the place that cannot be read.
  auto ended = output.end();
  return copied ? std::move(ended) : copied;
}

int fail(const vmdk::Error& error, int status) {
  print_error(error);
  return status;
}

int run_cat(const Usage& usage, const Arguments& arguments) {
  if (const auto status = require_no_terminal(
          "> FILE, or | to a program; or vmdkctl convert --type=raw IMAGE FILE");
      !status)
    return fail(status.error(), kUsage);
  auto options = source_open_options(usage, arguments);
  if (!options)
    return fail(options.error(), kUsage);
  const std::string& image = arguments.operands[0];
  vmdk::PosixFileSystem file_system;
  const auto source = open_image_source(file_system, image, *std::move(options));
  if (!source)
    return fail(source.error(), kFailed);
  const auto range = wanted_range(usage, arguments, *source);
  if (!range)
    return fail(range.error(),
                range.error().code() == vmdk::ErrorCode::kInvalidArgument ? kUsage : kFailed);
  if (const auto status = write_range(*source, *range, image, arguments); !status)
    return fail(status.error(), kFailed);
  return kDone;
}

}  // namespace

Verb cat_verb() {
  Usage usage{
      "cat",
      "IMAGE",
      "Writes the disk, or a part of it, to standard output. Where that is a new file,\n"
      "what is all zeros becomes a hole of it. Needs no mount and no privilege.",
      {{"offset", 0, OptionKind::kValue, "SIZE", "begin here: bytes, or with K, M, G, T (0)"},
       {"length", 0, OptionKind::kValue, "SIZE", "so many bytes, or to the end of the disk"},
       {"partition", 0, OptionKind::kValue, "N", "that partition, by its number in fdisk"},
       progress_option(),
       layer_option(),
       salvage_option()},
      1,
      1};
  usage.add(source_options());
  return {std::move(usage), run_cat, kFailed};
}

}  // namespace vmdkctl
