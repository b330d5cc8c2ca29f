// The check and its repairs on images whose metadata were changed: what it calls sound can be read,
// and no repair makes anything wrong that could be read before.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <vmdk/check.h>
#include <vmdk/disk.h>

#include "damaged_image.h"
#include "fuzz_input.h"
#include "support/sparse_bytes.h"

namespace {

using namespace vmdk;
using namespace vmdk::test;

constexpr int kDamaged = 2;
constexpr std::uint64_t kWindow = 4 * kMiB;  // at most so much of a disk is read
constexpr std::uint64_t kPiece = 4 * kKiB;

// The bits of an input's second byte.
constexpr unsigned kRepairTables = 1;
constexpr unsigned kWithoutChain = 2;

using Contents = std::map<std::string, SparseBytes>;

Contents contents_of(const MemoryFileSystem& files) {
  Contents contents;
  for (const std::string& name : files.files())
    contents.emplace(name, files.content(name));
  return contents;
}

bool same(const Contents& one, const Contents& other) {
  return std::ranges::equal(one, other, [](const auto& a, const auto& b) {
    return a.first == b.first && same_bytes(a.second, b.second);
  });
}

// What a disk shows, piece by piece; nothing for a piece that cannot be read.
using Pieces = std::vector<std::optional<std::vector<std::byte>>>;

// nullopt: it does not open.
std::optional<Pieces> read_pieces(MemoryFileSystem& files, const std::filesystem::path& image) {
  OpenOptions options;
  options.access = Access::kReadOnly;
  options.commit_interval = {};
  const auto disk = Disk::open(files, image, options);
  if (!disk)
    return std::nullopt;
  const std::uint64_t piece = std::min((*disk)->grain_size(), kPiece);
  Pieces pieces;
  for (std::uint64_t at = 0; at < std::min((*disk)->capacity(), kWindow); at += piece) {
    std::vector<std::byte> bytes(piece);
    const auto got = (*disk)->read(DiskOffset(at), bytes);
    if (got)
      bytes.resize(*got);
    pieces.push_back(got ? std::optional(std::move(bytes)) : std::nullopt);
  }
  return pieces;
}

bool is_whole(const Pieces& pieces) {
  return std::ranges::all_of(pieces, [](const auto& piece) { return piece.has_value(); });
}

// What could be read before shows the same.
bool keeps(const Pieces& before, const Pieces& after) {
  return std::ranges::equal(before, after,
                            [](const auto& was, const auto& is) { return !was || was == is; });
}

// Entries that are right by themselves may say something else in the copy that replaces them.
bool replaces_primary_tables(const CheckReport& report) {
  return std::ranges::any_of(report.repairs, [](const Repair& repair) {
    return repair.kind == RepairKind::kTables &&
           repair.text.find(" primary grain table") != std::string::npos;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = fuzz_input(data, size);
  if (input.size() < 2)
    return 0;
  const auto& images = sound_images();
  const SoundImage& image = images[std::to_integer<std::size_t>(input[0]) % images.size()];
  const auto bits = std::to_integer<unsigned>(input[1]);
  const auto files = image.files->clone();
  damage(image, *files, input.subspan(2));

  const Contents before = contents_of(*files);
  const auto pieces = read_pieces(*files, image.image);
  const auto report = check_image(*files, image.image, {});
  require(same(before, contents_of(*files)), "neither reading nor checking changes anything");
  const bool sound = report && report->exit_code() != kDamaged;
  require(!sound || pieces, "what the check calls sound can be opened");
  require(!sound || is_whole(*pieces), "what the check calls sound can be read");

  CheckOptions options;
  options.repair = true;
  options.repair_tables = (bits & kRepairTables) != 0;
  options.chain = (bits & kWithoutChain) == 0;
  const auto repaired = check_image(*files, image.image, options);
  const Contents after = contents_of(*files);
  for (const std::string& parent : image.parents)
    require(same_bytes(before.at(parent), after.at(parent)), "no repair changes a parent");
  const bool changed = !same(before, after);
  require(!changed || (repaired && !repaired->failure), "what stops does not change anything");
  // With the chain, what is left may be the damage of a parent.
  require(!changed || options.chain || repaired->exit_code() != kDamaged,
          "a repair mends all damage or changes nothing");
  if (sound)
    require(!repaired || repaired->exit_code() != kDamaged, "a repair damages nothing");
  if (pieces && !(repaired && replaces_primary_tables(*repaired))) {
    const auto pieces_after = read_pieces(*files, image.image);
    require(pieces_after && keeps(*pieces, *pieces_after), "a repair keeps what could be read");
  }
  if (repaired) {
    static_cast<void>(check_image(*files, image.image, options));
    require(same(after, contents_of(*files)), "what was repaired needs no repair");
  }
  return 0;
}
