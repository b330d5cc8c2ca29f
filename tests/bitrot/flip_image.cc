#include "bitrot/flip_image.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <iterator>
#include <string_view>
#include <utility>

#include <vmdk/units.h>

#include "bitrot/descriptor_fields.h"
#include "support/esx_builder.h"
#include "support/file_helpers.h"
#include "support/image_builder.h"
#include "support/must.h"
#include "support/sample_disk.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr char kTop[] = "/vm/disk.vmdk";
constexpr char kParentFile[] = "/vm/parent.vmdk";
constexpr std::uint64_t kGrain = 4 * kKiB;
constexpr std::uint64_t kGrains = 12;
// The end of the disk cuts the last grain.
constexpr std::uint64_t kCapacity = (kGrains - 1) * kGrain + 3 * kSectorSize;
constexpr std::uint64_t kSparseTableBytes = 2048;

// A field of a structure: byte offset and length in it.
struct Part {
  std::uint64_t at;
  std::uint64_t length;
  std::string_view name;
  bool used = true;
};

constexpr auto kSparseHeader = std::to_array<Part>({{0, 4, "magic"},
                                                    {4, 4, "version"},
                                                    {8, 4, "flags"},
                                                    {12, 8, "capacity"},
                                                    {20, 8, "grainSize"},
                                                    {28, 8, "descriptorOffset"},
                                                    {36, 8, "descriptorSize"},
                                                    {44, 4, "numGTEsPerGT"},
                                                    {48, 8, "rgdOffset"},
                                                    {56, 8, "gdOffset"},
                                                    {64, 8, "overHead"},
                                                    {72, 1, "uncleanShutdown"},
                                                    {73, 4, "newline bytes"},
                                                    {77, 2, "compressAlgorithm"},
                                                    {79, 433, "padding", false}});

constexpr auto kCowdHeader = std::to_array<Part>({{0, 4, "magic"},
                                                  {4, 4, "version"},
                                                  {8, 4, "flags"},
                                                  {12, 4, "numSectors"},
                                                  {16, 4, "grainSize"},
                                                  {20, 4, "gdOffset"},
                                                  {24, 4, "numGDEntries"},
                                                  {28, 4, "freeSector"},
                                                  {32, 1616, "names", false},
                                                  {1648, 4, "uncleanShutdown"},
                                                  {1652, 396, "padding", false}});

constexpr auto kSeSparseHeader = std::to_array<Part>({{0, 8, "magic"},
                                                      {8, 8, "version"},
                                                      {16, 8, "capacity"},
                                                      {24, 8, "grainSize"},
                                                      {32, 8, "grainTableSize"},
                                                      {40, 8, "flags"},
                                                      {48, 32, "reserved"},
                                                      {80, 8, "volatileHeader offset"},
                                                      {88, 8, "volatileHeader size"},
                                                      {96, 8, "journalHeader offset"},
                                                      {104, 8, "journalHeader size"},
                                                      {112, 8, "journal offset"},
                                                      {120, 8, "journal size"},
                                                      {128, 8, "grainDirectory offset"},
                                                      {136, 8, "grainDirectory size"},
                                                      {144, 8, "grainTables offset"},
                                                      {152, 8, "grainTables size"},
                                                      {160, 8, "freeBitmap offset"},
                                                      {168, 8, "freeBitmap size"},
                                                      {176, 8, "backMap offset"},
                                                      {184, 8, "backMap size"},
                                                      {192, 8, "grains offset"},
                                                      {200, 8, "grains size"},
                                                      {208, 304, "padding", false}});

constexpr auto kSeSparseVolatile = std::to_array<Part>({{0, 8, "magic"},
                                                        {8, 8, "free table"},
                                                        {16, 8, "transaction"},
                                                        {24, 8, "replayJournal"},
                                                        {32, 480, "padding", false}});

constexpr auto kGrainMarker = std::to_array<Part>({{0, 8, "lba"}, {8, 4, "size"}});

constexpr auto kMetadataMarker = std::to_array<Part>(
    {{0, 8, "val"}, {8, 4, "size"}, {12, 4, "type"}, {16, 496, "padding", false}});

class Builder {
 public:
  explicit Builder(FlipKind kind) : kind_(kind) {
    image_.content.resize(kCapacity);
    image_.hole = 8 * kGrain + 3 * kSectorSize;
    image_.data = 2 * kGrain + kSectorSize;
  }

  FlipImage run() {
    switch (kind_) {
      case FlipKind::kSparse:
      case FlipKind::kWithoutRedundant:
      case FlipKind::kZeroedGrains:
      case FlipKind::kTwoTables:
      case FlipKind::kInterrupted:
        build_single();
        break;
      case FlipKind::kSplit:
        build_split();
        break;
      case FlipKind::kChild:
      case FlipKind::kParent:
        build_chain();
        break;
      case FlipKind::kFlat:
        build_of_flat();
        break;
      case FlipKind::kStreamFooter:
        build_of_stream(StreamLayout::kFooter);
        break;
      case FlipKind::kStreamFront:
        build_of_stream(StreamLayout::kFront);
        break;
      case FlipKind::kStreamFrontRedundant:
        build_of_stream(StreamLayout::kFrontRedundant);
        break;
      case FlipKind::kCowd:
      case FlipKind::kWorkstation3:
        build_of_cowd();
        break;
      case FlipKind::kSeSparse:
        build_of_sesparse();
    }
    return std::move(image_);
  }

 private:
  MemoryFileSystem& files() { return *image_.files; }

  // ---- Content

  // A grain of bytes that tell whose they are; what lies inside the disk is put into its content.
  std::vector<std::byte> grain_at(std::uint64_t begin, std::uint64_t length, char tag = 'i') {
    auto bytes = tagged(tag, static_cast<std::uint32_t>(begin / kSectorSize), length);
    const std::uint64_t inside = std::min<std::uint64_t>(length, image_.content.size() - begin);
    std::copy_n(bytes.begin(), inside, image_.content.begin() + static_cast<std::ptrdiff_t>(begin));
    return bytes;
  }

  void fill(SparseSpec& spec, std::uint64_t extent_begin,
            std::initializer_list<std::uint64_t> grains, char tag = 'i') {
    for (const std::uint64_t grain : grains)
      spec.grains.push_back(
          {.index = grain,
           .data = grain_at(extent_begin + grain * spec.grain_size, spec.grain_size, tag)});
  }

  // ---- Fields

  void add(const std::string& file, std::uint64_t begin, std::uint64_t length, std::string name,
           bool used = true) {
    if (length != 0)
      image_.fields.push_back({file, begin, length, std::move(name), used});
  }

  template <std::size_t N>
  void add_parts(const std::string& file, std::uint64_t at, std::string_view structure,
                 const std::array<Part, N>& parts) {
    for (const Part& part : parts)
      add(file, at + part.at, part.length, std::string(structure) + ": " + std::string(part.name),
          part.used);
  }

  // `size`: bytes that the structure takes.
  void add_array(const std::string& file, std::uint64_t at, std::uint64_t used, std::uint64_t size,
                 const std::string& name) {
    add(file, at, used, name);
    add(file, at + used, size - used, name + " (behind the end)", false);
  }

  void add_text(const std::string& file, std::uint64_t at) {
    std::string text = files().text(file).substr(at);
    const std::size_t end = text.find('\0');
    const bool embedded = end != std::string::npos;
    text.resize(std::min(end, text.size()));
    auto fields = descriptor_fields(file, at, text);
    std::move(fields.begin(), fields.end(), std::back_inserter(image_.fields));
    if (embedded)
      add(file, at + text.size(), 1, "text: end");
  }

  // Directories and tables of an extent of up to kGrains grains, or of the first table's first
  // ones.
  void add_sparse_tables(const std::string& file, const BuiltSparse& built, bool two_copies) {
    const SparseHeader& header = built.layout.header;
    for (const bool redundant : {true, false}) {
      if (redundant && !two_copies)
        continue;
      const std::string word = redundant ? "redundant " : "";
      add_array(file, built.directory_entry_at(0, redundant), header.table_count() * 4,
                header.directory_sectors() * kSectorSize, word + "directory");
      for (std::uint64_t table = 0; table < header.table_count(); ++table)
        add_array(file, built.table_at(table, redundant), kGrains * 4, kSparseTableBytes,
                  word + "table");
    }
  }

  // ---- Kinds

  void build_single() {
    SparseSpec spec{.capacity = kCapacity, .grain_size = kGrain, .descriptor_size = kSectorSize};
    if (kind_ == FlipKind::kTwoTables) {
      spec.capacity = 512 * kGrain + kCapacity;
      image_.content.resize(spec.capacity);
      fill(spec, 0, {513, 515});
    }
    spec.zeroed_grains = kind_ == FlipKind::kZeroedGrains;
    const bool two_copies = kind_ != FlipKind::kWithoutRedundant;
    if (!two_copies)
      spec.edit_header = [](SparseHeader& header) {
        header.flags &= ~sparse_flag::kRedundantTables;
        header.rgd_offset = Sectors(0);
      };
    fill(spec, 0, {1, 2, 5, kGrains - 1});
    if (spec.zeroed_grains)
      spec.grains.push_back({.index = 4, .entry = 1});
    if (kind_ == FlipKind::kInterrupted) {
      spec.unclean = true;
      // Readers see the state before it.
      spec.grains.push_back(
          {.index = 9, .data = filled(kGrain, 'n'), .copies = TableCopies::kRedundant});
    }
    const BuiltSparse built = must(build_sparse(files(), kTop, spec));
    if (kind_ != FlipKind::kTwoTables && kind_ != FlipKind::kInterrupted)
      add_parts(kTop, 0, "header", kSparseHeader);
    if (kind_ == FlipKind::kSparse || kind_ == FlipKind::kTwoTables)
      add_text(kTop, kSectorSize);
    // The rest of the text is that of the smaller one, which takes less time.
    if (kind_ == FlipKind::kTwoTables)
      std::erase_if(image_.fields,
                    [](const auto& field) { return field.name != "text: extent length"; });
    add_sparse_tables(kTop, built, two_copies);
  }

  void build_split() {
    constexpr std::uint64_t kFirst = 6 * kGrain;
    std::vector<SparseSpec> parts(2);
    parts[0].capacity = kFirst;
    parts[1].capacity = kCapacity - kFirst;
    for (SparseSpec& part : parts)
      part.grain_size = kGrain;
    fill(parts[0], 0, {1, 2, 5});
    fill(parts[1], kFirst, {0, 5});
    const auto built = must(build_split_sparse(files(), kTop, parts));
    add_text(kTop, 0);
    add_sparse_tables("/vm/disk-s002.vmdk", built[1], true);
  }

  void build_chain() {
    DescriptorSpec text;
    text.cid = 0x0badcafe;
    SparseSpec parent{.capacity = kCapacity,
                      .grain_size = 2 * kGrain,
                      .descriptor = text,
                      .descriptor_size = kSectorSize};
    fill(parent, 0, {0, 1, 3, 4}, 'p');
    const BuiltSparse below = must(build_sparse(files(), kParentFile, parent));
    text.cid = DescriptorSpec().cid;
    text.parent_cid = 0x0badcafe;
    text.parent_hint = "parent.vmdk";
    SparseSpec child{.capacity = kCapacity,
                     .grain_size = kGrain,
                     .descriptor = text,
                     .descriptor_size = kSectorSize};
    fill(child, 0, {1, 2, 5, kGrains - 1});
    const BuiltSparse above = must(build_sparse(files(), kTop, child));
    const bool flips_child = kind_ == FlipKind::kChild;
    const char* const file = flips_child ? kTop : kParentFile;
    add_parts(file, 0, "header", kSparseHeader);
    add_text(file, kSectorSize);
    add_sparse_tables(file, flips_child ? above : below, true);
  }

  void build_of_flat() {
    constexpr std::uint64_t kPart = 16 * kKiB;
    std::vector<FlatSpec> parts(3);
    image_.content.resize(parts.size() * kPart);
    for (std::size_t i = 0; i < parts.size(); ++i)
      parts[i] = {.length = kPart, .data = grain_at(i * kPart, kPart)};
    must(build_flat(files(), kTop, parts));
    add_text(kTop, 0);
  }

  void build_of_stream(StreamLayout layout) {
    StreamSpec spec{.capacity = kCapacity, .grain_size = kGrain, .layout = layout};
    for (const std::uint64_t grain :
         {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{5}, kGrains - 1})
      spec.grains.push_back({.index = grain, .data = grain_at(grain * kGrain, kGrain)});
    const BuiltStream built = must(build_stream(files(), kTop, spec));
    add_parts(kTop, 0, "header", kSparseHeader);
    for (const auto& [grain, at] : built.records)
      add_parts(kTop, at, "grain marker", kGrainMarker);
    add_stream_tables(built, built.directory, "");
    if (layout == StreamLayout::kFrontRedundant)
      add_stream_tables(built, built.header.rgd_offset.count() * kSectorSize, "redundant ");
    if (layout == StreamLayout::kFooter)
      add_stream_tail(built);
  }

  // In front of the grains the tables lie behind their directory.
  void add_stream_tables(const BuiltStream& built, std::uint64_t directory,
                         const std::string& word) {
    add_array(kTop, directory, built.header.table_count() * 4,
              built.header.directory_sectors() * kSectorSize, word + "directory");
    for (const auto& [number, at] : built.tables)
      add_array(kTop, at + directory - built.directory, kGrains * 4, kSparseTableBytes,
                word + "table");
  }

  void add_stream_tail(const BuiltStream& built) {
    for (const auto& [number, at] : built.tables)
      add_parts(kTop, at - kSectorSize, "table marker", kMetadataMarker);
    add_parts(kTop, built.directory - kSectorSize, "directory marker", kMetadataMarker);
    add_parts(kTop, built.file_size - 3 * kSectorSize, "footer marker", kMetadataMarker);
    add_parts(kTop, built.file_size - 2 * kSectorSize, "footer", kSparseHeader);
    add_parts(kTop, built.file_size - kSectorSize, "end marker", kMetadataMarker);
  }

  // Grains of one sector.
  void build_of_cowd() {
    constexpr std::uint64_t kSectors = 24;
    CowdSpec spec{.capacity = kSectors * kSectorSize};
    image_.content.resize(spec.capacity);
    image_.hole = 6 * kSectorSize;
    image_.data = 2 * kSectorSize;
    for (const std::uint64_t grain : {1U, 2U, 3U, 9U, 10U, 20U})
      spec.grains.push_back({.index = grain, .data = grain_at(grain * kSectorSize, kSectorSize)});
    const bool workstation = kind_ == FlipKind::kWorkstation3;
    spec.version = workstation ? 3 : 1;
    const std::string file = workstation ? kTop : "/vm/disk-delta.vmdk";
    const BuiltCowd built =
        must(workstation ? build_cowd(files(), kTop, spec) : build_cowd_disk(files(), kTop, spec));
    add_parts(file, 0, "header", kCowdHeader);
    add_array(file, built.directory, 4, kSectorSize, "directory");
    add_array(file, built.tables.at(0), kSectors * 4, built.entries_per_table * 4, "table");
  }

  void build_of_sesparse() {
    constexpr std::uint64_t kEntryBytes = 8;
    SeSparseSpec spec{.capacity = kCapacity, .grain_size = kGrain};
    for (const std::uint64_t grain :
         {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{5}, kGrains - 1})
      spec.grains.push_back({.index = grain, .data = grain_at(grain * kGrain, kGrain)});
    spec.grains.push_back({.index = 4, .entry = kSeZeroEntry});
    const BuiltSeSparse built = must(build_sesparse_disk(files(), kTop, spec));
    const std::string file = "/vm/disk-sesparse.vmdk";
    add_parts(file, 0, "header", kSeSparseHeader);
    add_parts(file, built.volatile_header, "volatile header", kSeSparseVolatile);
    add_array(file, built.directory, kEntryBytes, kSectorSize, "directory");
    add_array(file, built.tables.at(0), kGrains * kEntryBytes, 4096 * kEntryBytes, "table");
  }

  const FlipKind kind_;
  FlipImage image_;
};

}  // namespace

std::string to_string(FlipKind kind) {
  constexpr std::array<const char*, std::size(kAllFlipKinds)> kNames = {
      "Sparse",       "WithoutRedundant", "ZeroedGrains",
      "TwoTables",    "Interrupted",      "Split",
      "Child",        "Parent",           "Flat",
      "StreamFooter", "StreamFront",      "StreamFrontRedundant",
      "Cowd",         "Workstation3",     "SeSparse"};
  return kNames.at(static_cast<std::size_t>(kind));
}

FlipImage build_flip_image(FlipKind kind) {
  return Builder(kind).run();
}

}  // namespace vmdk::test
