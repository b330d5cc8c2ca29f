#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <vmdk/check.h>
#include <vmdk/disk.h>

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
    case kCouldNotRun:
      return "unknown";
    default:
      return "damage";
  }
}

std::string_view state_word(vmdk::RepairState state) {
  switch (state) {
    case vmdk::RepairState::kPlanned:
      return "planned";
    case vmdk::RepairState::kDone:
      return "done";
    case vmdk::RepairState::kLeft:
      return "left";
  }
  return "";
}

std::string_view kind_word(vmdk::RepairKind kind) {
  switch (kind) {
    case vmdk::RepairKind::kNames:
      return "names";
    case vmdk::RepairKind::kTables:
      return "tables";
    case vmdk::RepairKind::kFreeSector:
      return "freeSector";
    case vmdk::RepairKind::kEnd:
      return "end";
    case vmdk::RepairKind::kHoles:
      return "holes";
    case vmdk::RepairKind::kMark:
      return "mark";
    case vmdk::RepairKind::kNothing:
      return "nothing";
  }
  return "";
}

// What `vmdkfuse --salvage` would show.
struct Salvage {
  vmdk::DiskInfo info;
  std::optional<vmdk::Error> refused;
};

void put_figures(Json& json, std::uint64_t allocated, std::uint64_t total, std::uint64_t unused) {
  json["allocatedGrains"] = allocated;
  json["totalGrains"] = total;
  json["unusedBytes"] = unused;
}

Json repair_json(const vmdk::Repair& repair) {
  Json json;
  json["state"] = state_word(repair.state);
  put_bytes(json, "file", repair.file);
  json["what"] = kind_word(repair.kind);
  json["count"] = repair.count;
  json["bytes"] = repair.bytes;
  put_bytes(json, "text", repair.text);
  return json;
}

void put_salvage(Json& json, const Salvage& salvage) {
  put_salvaged(json, salvage.info.salvaged, salvage.info.salvaged_count);
  if (salvage.refused)
    put_bytes(json, "salvageError", salvage.refused->message());
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
  for (const vmdk::Repair& repair : report.repairs)
    json["repairs"].push_back(repair_json(repair));
  if (report.failure)
    put_bytes(json, "failure", report.failure->message());
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

void print_findings(const vmdk::CheckReport& report) {
  for (const vmdk::Finding& finding : report.findings) {
    print_line(fmt::format("{}: {}: {}", vmdk::printable(finding.file),
                           severity_word(finding.severity), vmdk::printable_lines(finding.text)));
  }
}

void print_repair(std::string_view label, const vmdk::Repair& repair) {
  print_line(
      fmt::format("{}: {}: {}", label, vmdk::printable(repair.file), vmdk::printable(repair.text)));
}

// What is going to be changed.
void print_plan(const vmdk::CheckReport& report) {
  for (const vmdk::Repair& repair : report.repairs)
    if (repair.state == vmdk::RepairState::kPlanned)
      print_repair("planned", repair);
}

void print_repairs(const vmdk::CheckReport& report) {
  for (const vmdk::Repair& repair : report.repairs) {
    switch (repair.state) {
      case vmdk::RepairState::kPlanned:
        print_repair(report.failure ? "not done" : "planned", repair);
        break;
      case vmdk::RepairState::kDone:
        print_repair("repaired", repair);
        break;
      case vmdk::RepairState::kLeft:
        print_repair("left", repair);
        break;
    }
  }
}

void print_verdict(std::string_view image, const vmdk::CheckReport& report) {
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

void print_report(std::string_view image, const vmdk::CheckReport& report, bool repair) {
  print_findings(report);
  print_repairs(report);
  if (repair && report.repairs.empty())
    print_line(fmt::format("{}: nothing to repair", vmdk::printable(image)));
  print_verdict(image, report);
}

// What was found and planned was printed before: here is what became of it, and what is left.
void print_outcome(std::string_view image, const vmdk::CheckReport& report) {
  print_repairs(report);
  if (!report.failure)
    print_findings(report);
  print_verdict(image, report);
}

void print_salvage(const Salvage& salvage) {
  for (const std::string& line : salvage.info.salvaged)
    print_line(fmt::format("salvage: {}", vmdk::printable(line)));
  if (const auto more = salvage.info.salvaged_count - salvage.info.salvaged.size(); more != 0)
    print_line(fmt::format("salvage: and {} more", more));
  if (salvage.refused)
    print_line(fmt::format("salvage: refused: {}", vmdk::printable(salvage.refused->message())));
  else if (salvage.info.salvaged_count == 0)
    print_line("salvage: nothing would have to be done");
}

vmdk::Result<vmdk::CheckOptions> repair_options_of(const Usage& usage, const Arguments& arguments) {
  vmdk::CheckOptions options;
  const auto repair = arguments.value("repair");
  if (repair && !repair->empty() && *repair != "tables") {
    return usage_error(usage, fmt::format("cannot repair \"{}\": --repair alone mends all that "
                                          "needs no choice, --repair=tables also chooses between "
                                          "copies of tables that can both be right",
                                          *repair));
  }
  options.repair = repair.has_value();
  options.repair_tables = repair == "tables";
  options.dry_run = arguments.has("dry-run");
  if (options.dry_run && !options.repair)
    return usage_error(usage, "--dry-run goes with --repair");
  if (arguments.has("salvage") && options.repair)
    return usage_error(usage, "--salvage only looks, --repair changes: give one of them");
  return options;
}

vmdk::Result<vmdk::CheckOptions> options_of(const Usage& usage, const Arguments& arguments) {
  ASSIGN_OR_RETURN(vmdk::CheckOptions options, repair_options_of(usage, arguments));
  options.open = open_options(usage, arguments);
  options.open.salvage = false;  // damage is what is looked for
  for (const std::string& force : arguments.list("force")) {
    if (force == "stale-lck")
      options.open.force_stale_lck = true;
    else if (force == "children")
      options.open.force_children = true;
    else
      return usage_error(usage,
                         fmt::format("--force: \"{}\" is neither stale-lck nor children", force));
  }
  return options;
}

Salvage salvage_of(vmdk::FileSystem& file_system, const std::string& image,
                   vmdk::OpenOptions options) {
  options.access = vmdk::Access::kReadOnly;
  options.salvage = true;
  auto info = vmdk::Disk::look(file_system, image, std::move(options));
  if (!info)
    return {.refused = std::move(info).error()};
  return {.info = *std::move(info)};
}

int run_check(const Usage& usage, const Arguments& arguments) {
  auto options = options_of(usage, arguments);
  if (!options) {
    print_error(options.error());
    return kUsage;
  }
  const std::string& image = arguments.operands[0];
  const bool json = arguments.has("json");
  vmdk::PosixFileSystem file_system;
  bool plan_printed = false;
  const auto report = [&] {
    ProgressLine progress(image, arguments);
    options->progress = progress.callback();
    if (!json)
      options->planned = [&](const vmdk::CheckReport& found) {
        progress.clear();
        print_findings(found);
        print_plan(found);
        flush_lines();
        plan_printed = true;
      };
    return vmdk::check_image(file_system, image, *options);
  }();
  if (!report) {
    print_error(report.error());
    return kCouldNotRun;
  }
  std::optional<Salvage> salvage;
  if (arguments.has("salvage"))
    salvage = salvage_of(file_system, image, options->open);
  if (json) {
    Json object = report_json(image, *report);
    if (salvage)
      put_salvage(object, *salvage);
    print_line(to_text(object));
  } else {
    if (plan_printed)
      print_outcome(image, *report);
    else
      print_report(image, *report, options->repair);
    if (salvage)
      print_salvage(*salvage);
  }
  if (report->failure)
    print_error(*report->failure);
  return report->exit_code();
}

}  // namespace

Verb check_verb() {
  Usage usage{"check",
              "IMAGE",
              "Checks an image and its parents. Exit status, of the image as it is then:\n"
              "0 clean, 1 could not run (no image, a kind that is not supported, files in use\n"
              "or unreadable, a failed repair), 2 damage, from the header on, 3 leaks, unclean\n"
              "mark or interrupted commit (which lose no data).",
              {{"json", 0, OptionKind::kFlag, "", "one JSON object"},
               {"repair", 0, OptionKind::kOptionalValue, "tables",
                "mend what needs no choice: lists every change, then\n"
                "makes it; with \"=tables\" also choose between copies\n"
                "of tables that differ and can both be right"},
               {"dry-run", 0, OptionKind::kFlag, "", "with --repair: list the changes, make none"},
               {"force", 0, OptionKind::kList, "WHAT",
                "repair in spite of VMware's lock folder or of a\n"
                "snapshot over the image: stale-lck, children"},
               salvage_option(),
               progress_option()},
              1,
              1};
  usage.add(chain_options());
  return {std::move(usage), run_check, kCouldNotRun};
}

}  // namespace vmdkctl
