#include "vfsx/images.h"

#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>
#include <utility>

#include <vmdk/disk.h>

#include "base/checked_math.h"
#include "conformance/shapes.h"
#include "support/stream_builder.h"
#include "vfsx/pattern.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kSmall = 8 * kMiB;
constexpr std::uint64_t kCowdEntries = 4096;  // of a table
constexpr int kWritesInParents = 40;
constexpr std::uint64_t kLongestInParents = 96 * kKiB;

// An image before it is made.
struct Plan {
  std::string name;
  std::string base = {};                     // of base_shapes(); empty: a stream
  std::vector<std::uint64_t> children = {};  // as child_shape() takes them, the lowest first
  std::uint64_t stream_capacity = 0;
  bool overlay = false;
};

Shape shape_named(const std::string& name) {
  for (Shape& shape : base_shapes()) {
    if (shape.name == name)
      return std::move(shape);
  }
  throw std::runtime_error(name + ": no such shape");
}

std::vector<Plan> plans() {
  std::vector<Plan> all;
  for (const Shape& shape : base_shapes())
    all.push_back({.name = shape.name, .base = shape.name});
  const std::vector<Plan> above = {
      {.name = "child4k", .base = "sparse4k", .children = {4}},
      {.name = "childZeroed64k", .base = "flat", .children = {9}},
      {.name = "childSplit64k", .base = "split4k", .children = {6}},
      {.name = "childSplitZeroed4k", .base = "sparse4kWhole", .children = {7}},
      {.name = "child1m", .base = "split64kZeroed", .children = {8}},
      {.name = "child64kTables", .base = "sparse64k", .children = {12}},
      {.name = "grandchild", .base = "vmfs", .children = {5, 4}},
      {.name = "cowdChild", .base = "cowdSectors", .children = {2}},
      {.name = "cowdChild4k", .base = "cowdSectors", .children = {4}},
      {.name = "childOverCowd", .base = "cowdSectors", .children = {3}},
      {.name = "overlayOfSparse", .base = "sparse4k", .overlay = true},
      {.name = "overlayOfStream", .stream_capacity = 6 * kMiB + kSectorSize, .overlay = true},
      {.name = "overlayOfLongStream", .stream_capacity = 34 * kMiB, .overlay = true},
  };
  all.insert(all.end(), above.begin(), above.end());
  return all;
}

template <class T>
T must(Result<T> result, const std::string& name) {
  if (!result)
    throw std::runtime_error(name + ": " + result.error().to_text());
  return *std::move(result);
}

void must(const Status& status, const std::string& name) {
  if (!status)
    throw std::runtime_error(name + ": " + status.error().to_text());
}

// Makes one image link by link; what is no longer the top gets data.
class Preparation {
 public:
  explicit Preparation(const Plan& plan) : plan_(plan) {}

  PreparedImage run() {
    if (plan_.base.empty())
      add_stream();
    else
      add_links();
    if (plan_.overlay) {
      image_.overlay = "/vm/overlay.vmdk";
      image_.bases = files_->files();
      image_.facts.can_punch = false;
    }
    image_.files = std::move(files_);
    return std::move(image_);
  }

 private:
  void add_stream() {
    constexpr std::uint64_t kGrain = 64 * kKiB;
    const std::uint64_t capacity = plan_.stream_capacity;
    start(capacity, {.capacity = capacity});
    BoundaryRandom random(image_.edges, 1);
    StreamSpec spec;
    spec.capacity = capacity;
    for (std::uint64_t index = random.below(3); index * kGrain < capacity;
         index += 1 + random.below(9)) {
      const std::uint64_t at = index * kGrain;
      std::vector<std::byte> bytes(std::min(kGrain, capacity - at));
      fill_pattern(bytes, at, index);
      image_.facts.content.write(at, bytes);
      spec.grains.push_back({.index = index, .data = std::move(bytes)});
    }
    image_.image = "/vm/disk.vmdk";
    must(build_stream(*files_, image_.image, spec), plan_.name);
  }

  void add_links() {
    const Shape base = shape_named(plan_.base);
    start(base.capacity(), edges_of(base));
    ParentName parent;
    for (std::size_t link = 0; link <= plan_.children.size(); ++link) {
      const Shape shape = link == 0 ? base : child_shape(base, plan_.children[link - 1]);
      const bool is_top = link == plan_.children.size();
      const std::string name = is_top ? "disk.vmdk" : "link" + std::to_string(link) + ".vmdk";
      image_.image = "/vm/" + name;
      must(build(*files_, image_.image, shape, link == 0 ? nullptr : &parent), plan_.name);
      add_edges(shape);
      image_.facts.can_punch = link == 0 || (shape.is_sparse() && shape.zeroed_grains);
      if (is_top && !plan_.overlay)
        return;
      parent = {add_data(link), name};
      image_.bases = files_->files();
    }
  }

  void start(std::uint64_t capacity, DiskEdges edges) {
    image_.facts.content = ReferenceDisk(capacity);
    image_.edges = std::move(edges);
  }

  static DiskEdges edges_of(const Shape& shape) {
    return {.capacity = shape.capacity(), .grain_size = shape.grain_size};
  }

  // Those of parents stay: what is copied from them changes there.
  void add_edges(const Shape& shape) {
    image_.edges.grain_size = shape.grain_size;
    for (const std::uint64_t begin : shape.begins())
      image_.edges.extents.push_back(begin);
    const std::uint64_t entries = shape.kind == Kind::kCowd ? kCowdEntries : 512;
    const std::uint64_t table = entries * shape.grain_size;
    for (std::uint64_t at = table; at < shape.capacity() && shape.is_sparse(); at += table)
      image_.edges.extents.push_back(at);
  }

  // Returns the content id afterwards.
  std::uint32_t add_data(std::size_t link) {
    OpenOptions options;
    options.commit_interval = std::chrono::milliseconds::zero();
    auto disk = must(Disk::open(*files_, image_.image, options), plan_.name);
    BoundaryRandom random(image_.edges, static_cast<std::uint32_t>(link + 1));
    for (int i = 0; i < kWritesInParents; ++i) {
      const auto [at, length] = random.range(kLongestInParents);
      std::vector<std::byte> bytes(length);
      fill_pattern(bytes, at, link * 1000 + static_cast<std::uint64_t>(i));
      image_.facts.content.write(at, bytes);
      must(disk->write(DiskOffset(at), bytes), plan_.name);
    }
    must(disk->close(), plan_.name);
    return disk->info().layers[0].cid;
  }

  const Plan& plan_;
  std::unique_ptr<MemoryFileSystem> files_ = std::make_unique<MemoryFileSystem>();
  PreparedImage image_;
};

std::uint64_t capacity_of(const Plan& plan) {
  return plan.base.empty() ? plan.stream_capacity : shape_named(plan.base).capacity();
}

}  // namespace

std::vector<std::string> image_names() {
  std::vector<std::string> names;
  for (Plan& plan : plans())
    names.push_back(std::move(plan.name));
  return names;
}

std::vector<std::string> small_image_names() {
  std::vector<std::string> names;
  for (Plan& plan : plans()) {
    if (capacity_of(plan) <= kSmall)
      names.push_back(std::move(plan.name));
  }
  return names;
}

const PreparedImage* prepared_image(std::string_view name) {
  static std::map<std::string, PreparedImage, std::less<>> made;
  if (const auto found = made.find(name); found != made.end())
    return &found->second;
  for (const Plan& plan : plans()) {
    if (plan.name == name)
      return &made.emplace(plan.name, Preparation(plan).run()).first->second;
  }
  return nullptr;
}

}  // namespace vmdk::test
