#include <utility>

#include <fmt/format.h>

#include <vmdk/check.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/progress_line.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

// As qemu-img's check: 0, 2 and 3 are CheckReport::exit_code().
constexpr int kCouldNotRun = 1;

std::string_view severity_word(vmdk::Severity severity) {
  switch (severity) {
    case vmdk::Severity::kNote:
      return "note";
    case vmdk::Severity::kLeak:
      return "leak";
    case vmdk::Severity::kDamage:
      return "damage";
  }
  return "";
}

std::string_view verdict_word(const vmdk::CheckReport& report) {
  switch (report.exit_code()) {
    case 0:
      return "clean";
    case 3:
      return "leaks";
    default:
      return "damage";
  }
}

void put_figures(Json& json, std::uint64_t allocated, std::uint64_t total, std::uint64_t unused) {
  json["allocatedGrains"] = allocated;
  json["totalGrains"] = total;
  json["unusedBytes"] = unused;
}

Json report_json(std::string_view image, const vmdk::CheckReport& report) {
  Json json;
  json["schema"] = kSchema;
  put_bytes(json, "image", image);
  json["verdict"] = verdict_word(report);
  json["damageCount"] = report.damage_count;
  json["leakCount"] = report.leak_count;
  put_figures(json, report.allocated_grains, report.total_grains, report.unused_bytes);
  // From the base up, as everywhere.
  json["layers"] = Json::array();
  for (auto layer = report.layers.rbegin(); layer != report.layers.rend(); ++layer) {
    Json entry;
    put_bytes(entry, "file", layer->file);
    put_figures(entry, layer->allocated_grains, layer->total_grains, layer->unused_bytes);
    json["layers"].push_back(std::move(entry));
  }
  json["findings"] = Json::array();
  for (const vmdk::Finding& finding : report.findings) {
    Json entry;
    entry["severity"] = severity_word(finding.severity);
    put_bytes(entry, "file", finding.file);
    put_bytes(entry, "text", finding.text);
    json["findings"].push_back(std::move(entry));
  }
  json["repairs"] = Json::array();
  for (const std::string& repair : report.repairs) {
    Json entry;
    put_bytes(entry, "text", repair);
    json["repairs"].push_back(std::move(entry));
  }
  return json;
}

// "1 leak", "2 leaks"
std::string counted(std::uint64_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

// ", 3 of 160 grains in use, 1 MiB unused": of one image, not of those beneath it.
std::string figures(std::uint64_t allocated, std::uint64_t total, std::uint64_t unused) {
  std::string text;
  if (total > 0)
    text += fmt::format(", {} of {} grains in use", allocated, total);
  if (unused > 0)
    text += fmt::format(", {} unused", vmdk::format_size(unused));
  return text;
}

void print_report(std::string_view image, const vmdk::CheckReport& report) {
  for (const vmdk::Finding& finding : report.findings) {
    print_line(fmt::format("{}: {}: {}", vmdk::printable(finding.file),
                           severity_word(finding.severity), vmdk::printable_lines(finding.text)));
  }
  for (const std::string& repair : report.repairs)
    print_line(fmt::format("repaired: {}", vmdk::printable(repair)));
  for (std::size_t i = report.layers.size(); i-- > 1;) {
    const vmdk::CheckedLayer& layer = report.layers[i];
    print_line(
        fmt::format("{}: parent{}", vmdk::printable(layer.file),
                    figures(layer.allocated_grains, layer.total_grains, layer.unused_bytes)));
  }
  std::string text = fmt::format("{}: {}", vmdk::printable(image), verdict_word(report));
  if (report.damage_count + report.leak_count > 0)
    text += fmt::format(", {}, {}", counted(report.damage_count, "error"),
                        counted(report.leak_count, "leak"));
  print_line(text + figures(report.allocated_grains, report.total_grains, report.unused_bytes));
}

vmdk::Result<vmdk::CheckOptions> options_of(const Usage& usage, const Arguments& arguments) {
  vmdk::CheckOptions options;
  options.open = open_options(usage, arguments);
  const auto repair = arguments.value("repair");
  if (repair && !repair->empty() && *repair != "tables") {
    return usage_error(usage, fmt::format("cannot repair \"{}\": --repair alone ends interrupted "
                                          "commits, --repair=tables also makes the tables' copies "
                                          "agree",
                                          *repair));
  }
  if (const auto force = arguments.value("force")) {
    if (*force != "stale-lck")
      return usage_error(usage, fmt::format("--force: \"{}\" is not stale-lck", *force));
    options.open.force_stale_lck = true;
  }
  options.repair = repair.has_value();
  options.repair_tables = repair == "tables";
  return options;
}

int run_check(const Usage& usage, const Arguments& arguments) {
  auto options = options_of(usage, arguments);
  if (!options) {
    print_error(options.error());
    return kUsage;
  }
  const std::string& image = arguments.operands[0];
  vmdk::PosixFileSystem file_system;
  const auto report = [&] {
    ProgressLine progress(image, arguments.has("progress"));
    options->progress = progress.callback();
    return vmdk::check_image(file_system, image, *options);
  }();
  if (!report) {
    print_error(report.error());
    return kCouldNotRun;
  }
  if (arguments.has("json"))
    print_line(to_text(report_json(image, *report)));
  else
    print_report(image, *report);
  return report->exit_code();
}

}  // namespace

Verb check_verb() {
  Usage usage{
      "check",
      "IMAGE",
      "Checks an image and its parents. Exit status: 0 clean, 1 could not run (no\n"
      "image, a kind that is not supported, files in use or unreadable), 2 damage, from\n"
      "the header on, 3 leaks, unclean mark or interrupted commit (which lose no data).",
      {{"json", 0, OptionKind::kFlag, "", "one JSON object"},
       {"repair", 0, OptionKind::kOptionalValue, "tables",
        "end an interrupted commit and clear the mark; with\n"
        "\"=tables\" also make the copies of the tables agree"},
       {"force", 0, OptionKind::kValue, "stale-lck", "repair although a VMware lock folder exists"},
       {"progress", 'p', OptionKind::kFlag, "", "show progress without a terminal too"}},
      1,
      1};
  for (const OptionSpec& option : chain_options())
    usage.options.push_back(option);
  return {std::move(usage), run_check, kCouldNotRun};
}

}  // namespace vmdkctl
