#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/partition_rows.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

namespace fs = std::filesystem;

// What both forms of the answer are made from. Layers here count from the base, which is 0.
struct Facts {
  std::string image;
  std::uint64_t capacity = 0;   // bytes
  std::uint64_t allocated = 0;  // bytes of the whole chain, as the flat file would show them
  std::vector<vmdk::LayerInfo> layers;
  // Why what lies beneath layer 0 is not here. Layers then count from the oldest that was found.
  std::optional<vmdk::Error> broken;
  bool salvage = false;
  std::vector<std::string> salvaged;
  std::uint64_t salvaged_count = 0;
  // Where they were asked for: they, or why they are not here. Neither where the chain is broken.
  std::optional<vmdk::Result<PartitionFacts>> partitions;

  const vmdk::LayerInfo& top() const { return layers.back(); }
};

bool is_clean(const vmdk::LayerInfo& layer) {
  return std::none_of(layer.extents.begin(), layer.extents.end(),
                      [](const vmdk::ExtentInfo& extent) { return extent.unclean; });
}

const vmdk::ExtentInfo* first_sparse(const vmdk::LayerInfo& layer) {
  for (const vmdk::ExtentInfo& extent : layer.extents) {
    if (extent.grain_size != 0)
      return &extent;
  }
  return nullptr;
}

// Whether layer `index` names the content id that the layer below it has.
bool parent_matches(const Facts& facts, std::size_t index) {
  return index > 0 && facts.layers[index].parent_cid == facts.layers[index - 1].cid;
}

// null: the parent was not found.
Json parent_matches_json(const Facts& facts, std::size_t index) {
  return index == 0 ? Json(nullptr) : Json(parent_matches(facts, index));
}

vmdk::Result<Facts> look(vmdk::FileSystem& file_system, const fs::path& image,
                         vmdk::OpenOptions options) {
  const bool salvage = options.salvage;
  ASSIGN_OR_RETURN(vmdk::DiskInfo info, vmdk::Disk::look(file_system, image, std::move(options)));
  Facts facts{image.native(),           info.layers.front().capacity, 0,
              std::move(info.layers),   std::move(info.broken),       salvage,
              std::move(info.salvaged), info.salvaged_count,          std::nullopt};
  for (const vmdk::LayerInfo& layer : facts.layers)
    facts.allocated += layer.allocated;
  facts.allocated = std::min(facts.allocated, facts.capacity);
  std::reverse(facts.layers.begin(), facts.layers.end());
  return facts;
}

Json extent_json(const vmdk::ExtentInfo& extent) {
  Json json;
  json["type"] = extent.type;
  json["access"] = extent.access;
  json["sectors"] = extent.length / vmdk::kSectorSize;
  if (!extent.file.empty()) {
    put_bytes(json, "file", extent.file);
    json["offset"] = extent.file_offset;
  }
  if (extent.grain_size != 0) {
    json["grainBytes"] = extent.grain_size;
    json["version"] = extent.header_version;
    json["zeroedGrains"] = extent.zeroed_grains;
    json["compressed"] = extent.compressed;
    json["clean"] = !extent.unclean;
  }
  return json;
}

Json layer_json(const Facts& facts, std::size_t index) {
  const vmdk::LayerInfo& layer = facts.layers[index];
  Json json;
  json["index"] = index;
  put_bytes(json, "file", layer.file);
  put_bytes(json, "createType", layer.create_type);
  json["cid"] = cid_text(layer.cid);
  if (layer.parent_cid) {
    json["parentCid"] = cid_text(*layer.parent_cid);
    json["parentMatches"] = parent_matches_json(facts, index);
    put_bytes(json, "parentHint", layer.parent_hint);
  }
  put_bytes(json, "adapter", layer.adapter);
  json["virtualBytes"] = layer.capacity;
  json["allocatedBytes"] = layer.allocated;
  json["clean"] = is_clean(layer);
  json["extents"] = Json::array();
  for (const vmdk::ExtentInfo& extent : layer.extents)
    json["extents"].push_back(extent_json(extent));
  return json;
}

Json facts_json(const Facts& facts) {
  const vmdk::LayerInfo& top = facts.top();
  Json json;
  json["schema"] = kSchema;
  put_bytes(json, "image", facts.image);
  Json format;
  put_bytes(format, "createType", top.create_type);
  if (const auto* extent = first_sparse(top)) {
    format["version"] = extent->header_version;
    format["grainBytes"] = extent->grain_size;
    format["zeroedGrains"] = extent->zeroed_grains;
  }
  json["format"] = std::move(format);
  json["virtualBytes"] = facts.capacity;
  json["allocatedBytes"] = facts.allocated;
  json["clean"] = is_clean(top);
  json["cid"] = cid_text(top.cid);
  if (top.parent_cid) {
    json["parentCid"] = cid_text(*top.parent_cid);
    json["parentMatches"] = parent_matches_json(facts, facts.layers.size() - 1);
  }
  json["chainComplete"] = !facts.broken;
  if (facts.broken)
    put_bytes(json, "chainError", facts.broken->message());
  json["layers"] = Json::array();
  for (std::size_t i = 0; i < facts.layers.size(); ++i)
    json["layers"].push_back(layer_json(facts, i));
  if (facts.partitions && *facts.partitions)
    json.update((*facts.partitions)->json);
  if (facts.salvage)
    put_salvaged(json, facts.salvaged, facts.salvaged_count);
  return json;
}

void print_row(std::string_view name, std::string_view text) {
  print_line(fmt::format("{:<17}{}", name, vmdk::printable(text)));
}

std::string format_row(const vmdk::LayerInfo& layer) {
  std::string text = layer.create_type;
  if (const auto* extent = first_sparse(layer)) {
    text += fmt::format(", version {}, grain {}", extent->header_version,
                        vmdk::format_size(extent->grain_size));
    if (extent->zeroed_grains)
      text += ", zeroed grains";
    if (extent->compressed)
      text += ", compressed";
  }
  return text;
}

std::string content_row(const Facts& facts) {
  const vmdk::LayerInfo& top = facts.top();
  std::string text = cid_text(top.cid);
  if (!top.parent_cid)
    return text + ", no parent";
  text += fmt::format(", parent {}", cid_text(*top.parent_cid));
  if (facts.layers.size() == 1)
    return text + " (not found)";
  if (parent_matches(facts, facts.layers.size() - 1))
    return text + " (matches)";
  return text + " (does not match: the parent was changed)";
}

// "2 RW SPARSE, 1 RDONLY FLAT"
std::string extents_row(const vmdk::LayerInfo& layer) {
  std::map<std::string, std::size_t> counts;
  for (const vmdk::ExtentInfo& extent : layer.extents)
    ++counts[fmt::format("{} {}", extent.access, extent.type)];
  std::string text;
  for (const auto& [kind, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  return text;
}

void print_layers(const Facts& facts) {
  std::size_t width = 0;
  for (const vmdk::LayerInfo& layer : facts.layers)
    width = std::max(width, vmdk::printable(layer.file).size());
  for (std::size_t i = 0; i < facts.layers.size(); ++i) {
    const vmdk::LayerInfo& layer = facts.layers[i];
    std::string text = fmt::format("{:<3}{:<{}}  {:>10}  {}", i, vmdk::printable(layer.file), width,
                                   vmdk::format_size(layer.allocated), layer.create_type);
    if (i > 0 && !parent_matches(facts, i))
      text += "  (made over another content of its parent)";
    if (i == 0 && facts.broken)
      text += "  (what is beneath it was not found)";
    print_row(i == 0 ? "layers" : "", text);
  }
}

void print_rows(std::string_view name, const std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < lines.size(); ++i)
    print_row(i == 0 ? name : "", lines[i]);
}

void print_salvaged(const Facts& facts) {
  if (facts.salvaged.empty())
    print_row("salvaged", "nothing had to be");
  print_rows("salvaged", facts.salvaged);
  if (facts.salvaged_count > facts.salvaged.size())
    print_row("", fmt::format("and {} more", facts.salvaged_count - facts.salvaged.size()));
}

void print_facts(const Facts& facts) {
  const vmdk::LayerInfo& top = facts.top();
  print_row("image", facts.image);
  print_row("format", format_row(top));
  print_row("virtual size",
            fmt::format("{} ({} bytes)", vmdk::format_size(facts.capacity), facts.capacity));
  std::uint64_t chain = 0;
  for (const vmdk::LayerInfo& layer : facts.layers)
    chain += layer.allocated;
  print_row("on disk", facts.layers.size() == 1 ? vmdk::format_size(top.allocated)
                                                : fmt::format("{} (this layer), {} (chain)",
                                                              vmdk::format_size(top.allocated),
                                                              vmdk::format_size(chain)));
  print_row("state", is_clean(top) ? "clean" : "open for writing, or its last session did not end");
  print_row("content id", content_row(facts));
  print_row("extents", extents_row(top));
  if (!top.adapter.empty())
    print_row("adapter", top.adapter);
  print_layers(facts);
  if (facts.partitions && *facts.partitions)
    print_rows("partitions", (*facts.partitions)->lines);
  if (facts.salvage)
    print_salvaged(facts);
}

// They stand on the disk itself.
vmdk::Result<PartitionFacts> partitions_of(vmdk::FileSystem& file_system, const fs::path& image,
                                           vmdk::OpenOptions options) {
  options.log = {};  // whoever looked at the image has said it
  ASSIGN_OR_RETURN(const auto disk, vmdk::Disk::open(file_system, image, std::move(options)));
  auto facts = partition_facts(*disk);
  if (!facts)
    return std::move(facts).error().with_context("partitions");
  return facts;
}

// Whether something that was asked for is not there; says why.
bool report_missing(const Facts& facts) {
  if (facts.broken)
    print_error(*facts.broken);
  const bool unread = facts.partitions && !*facts.partitions;
  if (unread)
    print_error(facts.partitions->error());
  return facts.broken || unread;
}

int run_info(const Usage& usage, const Arguments& arguments) {
  vmdk::PosixFileSystem file_system;
  vmdk::OpenOptions options = open_options(usage, arguments);
  // Information is wanted about a running machine's disk and about a broken chain as well.
  options.share = true;
  options.ignore_cid = true;
  if (const auto forced = force_journal(usage, arguments, options); !forced) {
    print_error(forced.error());
    return kUsage;
  }
  int status = kDone;
  bool first = true;
  for (const std::string& image : arguments.operands) {
    auto facts = look(file_system, image, options);
    if (!facts) {
      print_error(facts.error());
      status = kFailed;
      continue;
    }
    if (arguments.has("partitions") && !facts->broken)
      facts->partitions = partitions_of(file_system, image, options);
    if (arguments.has("json")) {
      print_line(to_text(facts_json(*facts)));
    } else {
      if (!first)
        print_line("");
      first = false;
      print_facts(*facts);
    }
    status = report_missing(*facts) ? kFailed : status;
  }
  return status;
}

}  // namespace

Verb info_verb() {
  Usage usage{
      "info",
      "IMAGE...",
      "Says what an image is: its kind, size, state, and the images beneath it. Works\n"
      "beside a running machine. A missing parent ends with status 2, after what is\n"
      "known without it.",
      {{"json", 0, OptionKind::kFlag, "", "one JSON object a line for each image"},
       {"partitions", 0, OptionKind::kFlag, "", "its partitions and their file systems too"},
       force_journal_option(),
       layer_option(),
       salvage_option()},
      1,
      std::numeric_limits<std::size_t>::max()};
  usage.add(chain_options());
  return {std::move(usage), run_info, kFailed};
}

}  // namespace vmdkctl
