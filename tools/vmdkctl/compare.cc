#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include <vmdk/compare.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/progress_line.h"
#include "vmdkctl/sources.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

// Exit statuses of its own, as cmp(1) and qemu-img compare have them.
constexpr int kSame = 0;
constexpr int kCouldNotRun = 1;
constexpr int kDiffer = 2;

int could_not_run(const vmdk::Error& error) {
  print_error(error);
  return kCouldNotRun;
}

// Which of the two are raw files: --raw=a, --raw=b, or both.
vmdk::Result<std::array<bool, 2>> raw_sides(const Usage& usage, const Arguments& arguments) {
  std::array<bool, 2> raw{};
  for (const std::string& side : arguments.list("raw")) {
    if (side != "a" && side != "b")
      return usage_error(usage, fmt::format("--raw: \"{}\" is neither a nor b", side));
    raw[side == "a" ? 0 : 1] = true;
  }
  return raw;
}

struct Verdict {
  bool same = false;
  std::string text;
};

// "a.vmdk has 65536 bytes more", which nobody should have to find out by himself.
std::string tail_of(const vmdk::Comparison& found, const std::vector<std::string>& names) {
  const bool a_longer = found.a_capacity > found.b_capacity;
  const std::uint64_t more =
      a_longer ? found.a_capacity - found.b_capacity : found.b_capacity - found.a_capacity;
  return fmt::format("{} is {} bytes longer", names[a_longer ? 0 : 1], more);
}

Verdict judge(const vmdk::Comparison& found, const std::vector<std::string>& names, bool strict,
              bool all) {
  const std::string both = fmt::format("{} and {}", names[0], names[1]);
  const bool same_size = found.a_capacity == found.b_capacity;
  if (strict && !same_size)
    return {false, fmt::format("{} differ in size: {}", both, tail_of(found, names))};
  if (!found.first_difference) {
    if (same_size)
      return {true, fmt::format("{} are the same", both)};
    return {true,
            fmt::format("{} are the same; {}, all of them zeros", both, tail_of(found, names))};
  }
  const std::uint64_t at = found.first_difference->bytes();
  std::string text = fmt::format("{} differ, first at byte {}", both, at);
  if (at >= std::min(found.a_capacity, found.b_capacity))
    text += fmt::format(": {}, and not all of them are zeros", tail_of(found, names));
  else if (!same_size)
    text += fmt::format("; {}", tail_of(found, names));
  if (all)
    text += fmt::format("; {} bytes differ", found.differing_bytes);
  return {false, std::move(text)};
}

void print_json(const vmdk::Comparison& found, const std::vector<std::string>& names, bool same,
                bool all) {
  Json json;
  json["schema"] = kSchema;
  put_bytes(json, "a", names[0]);
  put_bytes(json, "b", names[1]);
  json["virtualBytesA"] = found.a_capacity;
  json["virtualBytesB"] = found.b_capacity;
  json["same"] = same;
  if (found.first_difference)
    json["firstDifference"] = found.first_difference->bytes();
  if (all)
    json["differingBytes"] = found.differing_bytes;
  print_line(to_text(json));
}

vmdk::Result<vmdk::Comparison> compare_disks(const Usage& usage, const Arguments& arguments,
                                             bool strict, bool all) {
  ASSIGN_OR_RETURN(const auto raw, raw_sides(usage, arguments));
  ASSIGN_OR_RETURN(const auto options, source_open_options(usage, arguments));
  vmdk::PosixFileSystem file_system;
  std::array<Source, 2> sides;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    const std::string& name = arguments.operands[i];
    ASSIGN_OR_RETURN(sides[i], raw[i] ? open_raw_source(file_system, name, options.share)
                                      : open_image_source(file_system, name, options));
  }
  vmdk::ByteSource& a = *sides[0].bytes;
  vmdk::ByteSource& b = *sides[1].bytes;
  // Known without reading a byte, unless the first difference is asked for too.
  if (strict && !all && a.capacity() != b.capacity())
    return vmdk::Comparison{{}, 0, a.capacity(), b.capacity()};
  ProgressLine line("compare", arguments);
  vmdk::CompareOptions how;
  how.count_all = all;
  how.progress = line.callback();
  return vmdk::compare(a, b, how);
}

int run_compare(const Usage& usage, const Arguments& arguments) {
  const bool strict = arguments.has("strict");
  const bool all = arguments.has("all");
  const auto found = compare_disks(usage, arguments, strict, all);
  if (!found)
    return could_not_run(found.error());
  const Verdict verdict = judge(*found, arguments.operands, strict, all);
  if (arguments.has("json"))
    print_json(*found, arguments.operands, verdict.same, all);
  else
    print_line(vmdk::printable(verdict.text));
  return verdict.same ? kSame : kDiffer;
}

}  // namespace

Verb compare_verb() {
  Usage usage{"compare",
              "A B",
              "Tells whether two disks hold the same bytes. What one has behind the end of the\n"
              "other must be zeros. Exit status: 0 the same, 1 could not run, 2 they differ.",
              {{"raw", 0, OptionKind::kList, "a|b", "A, or B, is a raw file; may be given twice"},
               {"strict", 0, OptionKind::kFlag, "", "disks of unequal size differ"},
               {"all", 0, OptionKind::kFlag, "", "go on behind the first difference and count"},
               {"json", 0, OptionKind::kFlag, "", "one JSON object"},
               progress_option()},
              2,
              2};
  for (const OptionSpec& option : source_options()) {
    // Of which of the two it would be the parent, nobody could tell.
    if (option.name != "parent")
      usage.options.push_back(option);
  }
  return {std::move(usage), run_compare, kCouldNotRun};
}

}  // namespace vmdkctl
