#include <optional>
#include <utility>

#include <fmt/format.h>

#include <vmdk/disk.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

std::string_view kind_word(vmdk::MapKind kind) {
  switch (kind) {
    case vmdk::MapKind::kData:
      return "data";
    case vmdk::MapKind::kZero:
      return "zero";
    case vmdk::MapKind::kHole:
      return "hole";
    case vmdk::MapKind::kUnreadable:
      return "unreadable";
  }
  return "";
}

// Whether `next`, which begins where `run` ends, says the same.
bool continues(const vmdk::MapRun& run, const vmdk::MapRun& next) {
  if (run.kind != next.kind)
    return false;
  if (run.kind == vmdk::MapKind::kHole)
    return true;
  if (run.layer != next.layer || run.kind != vmdk::MapKind::kData)
    return run.layer == next.layer;
  if (run.file != next.file || run.compressed != next.compressed)
    return false;
  // Compressed grains take what they take: their places follow no rule.
  return run.compressed || run.where + run.length == next.where;
}

// Receives the runs of a disk one by one; a disk may have millions.
class Printer {
 public:
  Printer(const vmdk::Disk& disk, std::string image, bool json)
      : image_(std::move(image)),
        capacity_(disk.capacity()),
        layers_(disk.info().layers.size()),
        json_(json) {}

  void begin() const {
    if (!json_) {
      print_line(fmt::format("{:>16} {:>16}  {:<10} {:>5}  {}", "offset", "length", "state",
                             "layer", "file offset, file"));
      return;
    }
    Json head;
    head["schema"] = kSchema;
    put_bytes(head, "image", image_);
    head["virtualBytes"] = capacity_;
    std::string text = to_text(head);
    text.back() = ',';  // the object goes on
    fmt::print("{}\"runs\":[", text);
  }

  void run(const vmdk::MapRun& run) {
    if (json_) {
      fmt::print("{}{}", first_ ? "" : ",\n", to_text(run_json(run)));
      first_ = false;
      return;
    }
    std::string text = fmt::format("{:>16} {:>16}  {:<10} {:>5}", run.begin.bytes(), run.length,
                                   kind_word(run.kind), layer_text(run));
    if (run.kind == vmdk::MapKind::kData)
      text += fmt::format("  {}, {}{}", run.where.bytes(), vmdk::printable(run.file),
                          run.compressed ? " (compressed)" : "");
    print_line(text);
  }

  void end() const {
    if (json_)
      print_line("]}");
  }

 private:
  // Counted from the base, which is 0.
  std::size_t layer_of(const vmdk::MapRun& run) const { return layers_ - 1 - run.layer; }

  std::string layer_text(const vmdk::MapRun& run) const {
    return run.kind == vmdk::MapKind::kHole ? "-" : std::to_string(layer_of(run));
  }

  Json run_json(const vmdk::MapRun& run) const {
    Json json;
    json["offset"] = run.begin.bytes();
    json["length"] = run.length;
    json["state"] = kind_word(run.kind);
    if (run.kind != vmdk::MapKind::kHole)
      json["layer"] = layer_of(run);
    if (run.kind == vmdk::MapKind::kData) {
      put_bytes(json, "file", run.file);
      json["fileOffset"] = run.where.bytes();
      json["compressed"] = run.compressed;
    }
    return json;
  }

  std::string image_;
  std::uint64_t capacity_;
  std::size_t layers_;
  bool json_;
  bool first_ = true;
};

vmdk::Status print_runs(vmdk::Disk& disk, Printer& printer) {
  std::optional<vmdk::MapRun> pending;
  for (vmdk::DiskOffset at; at.bytes() < disk.capacity();) {
    ASSIGN_OR_RETURN(vmdk::MapRun run, disk.map(at, disk.capacity() - at.bytes()));
    at += run.length;
    if (pending && continues(*pending, run)) {
      pending->length += run.length;
      continue;
    }
    if (pending)
      printer.run(*pending);
    pending = std::move(run);
  }
  if (pending)
    printer.run(*pending);
  return {};
}

int run_map(const Usage& usage, const Arguments& arguments) {
  const std::string& image = arguments.operands[0];
  vmdk::OpenOptions options = open_options(usage, arguments);
  options.share = arguments.has("share");
  if (const auto status = force_journal(usage, arguments, options); !status) {
    print_error(status.error());
    return kUsage;
  }
  vmdk::PosixFileSystem file_system;
  const auto disk = vmdk::Disk::open(file_system, image, std::move(options));
  if (!disk) {
    print_error(disk.error());
    return kFailed;
  }
  Printer printer(**disk, image, arguments.has("json"));
  printer.begin();
  if (const auto status = print_runs(**disk, printer); !status) {
    print_error(status.error());
    return kFailed;
  }
  printer.end();
  return kDone;
}

}  // namespace

Verb map_verb() {
  Usage usage{"map",
              "IMAGE",
              "Shows where the bytes of the disk are: offset and length on the disk, state\n"
              "(data, zero, hole, unreadable), layer (0: the oldest image), place in its file.",
              {{"json", 0, OptionKind::kFlag, "", "one JSON object"},
               {"share", 0, OptionKind::kFlag, "", "also beside a writer; the answer may be torn"},
               force_journal_option(),
               layer_option(),
               salvage_option()},
              1,
              1};
  usage.add(chain_options());
  return {std::move(usage), run_map, kFailed};
}

}  // namespace vmdkctl
