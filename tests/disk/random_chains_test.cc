// Chains of images of all kinds, put together by chance, beside what they must read as.
#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/disk.h>

#include "support/esx_builder.h"
#include "support/image_builder.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"
#include "support/noise.h"
#include "support/reference_disk.h"
#include "support/soak.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr unsigned kMostLinks = 5;

unsigned chains() {
  return soak() ? 5000 : 100;
}

OpenOptions read_only() {
  OpenOptions options;
  options.access = Access::kReadOnly;
  return options;
}

// A chain as it grows: each link is built byte by byte, and changes what is expected.
class RandomChain {
 public:
  explicit RandomChain(unsigned seed) : random_(seed) {
    capacity_ = kSectorSize * between(1, 1200);
    expected_ = ReferenceDisk(capacity_);
  }

  void build() {
    add_base();
    const auto children = between(0, kMostLinks - 1);
    for (std::uint64_t i = 0; i < children; ++i)
      add_child();
  }

  void compare() {
    auto disk = Disk::open(files_, path(), read_only());
    ASSERT_OK(disk) << story_;
    ASSERT_EQ((*disk)->capacity(), capacity_) << story_;
    std::vector<std::byte> found(capacity_);
    const auto got = (*disk)->read(DiskOffset(0), found);
    ASSERT_OK(got) << story_;
    ASSERT_EQ(*got, capacity_) << story_;
    ASSERT_EQ(expected_.difference(0, found), std::nullopt) << story_;
    compare_pieces(**disk);
    const auto report = check_image(files_, path(), {});
    ASSERT_OK(report) << story_;
    for (const Finding& each : report->findings)
      EXPECT_NE(each.severity, Severity::kDamage)
          << story_ << ": " << each.file << ": " << each.text;
  }

 private:
  std::uint64_t between(std::uint64_t least, std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(least, most)(random_);
  }

  bool chance(unsigned percent) { return between(1, 100) <= percent; }

  std::filesystem::path path() const { return "/vm/link" + std::to_string(links_) + ".vmdk"; }

  DescriptorSpec descriptor(const std::string& create_type) const {
    DescriptorSpec spec;
    spec.cid = 0x1000 + links_;
    spec.create_type = create_type;
    if (links_ > 1) {
      spec.parent_cid = 0x1000 + links_ - 1;
      spec.parent_hint = "link" + std::to_string(links_ - 1) + ".vmdk";
    }
    return spec;
  }

  // The used part of a grain, now filled with what compresses or with what does not.
  std::vector<std::byte> fill(std::uint64_t at, std::uint64_t length) {
    const std::uint64_t used = std::min(length, capacity_ - at);
    auto bytes = chance(50) ? letters(random_, used) : noise(random_, used);
    expected_.write(at, bytes);
    return bytes;
  }

  void clear(std::uint64_t at, std::uint64_t length) {
    expected_.zero(at, std::min(length, capacity_ - at));
  }

  // Calls `each(index, at)` for some of the grains of [begin, end), in a random order.
  template <class Each>
  void some_grains(std::uint64_t begin, std::uint64_t end, std::uint64_t grain, Each each) {
    std::vector<std::uint64_t> chosen;
    const unsigned percent = static_cast<unsigned>(between(0, 100));
    for (std::uint64_t at = begin; at < end; at += grain) {
      if (chosen.size() < 40 && chance(percent))
        chosen.push_back(at);
    }
    std::ranges::shuffle(chosen, random_);
    for (const std::uint64_t at : chosen)
      each((at - begin) / grain, at);
  }

  SparseSpec sparse(std::uint64_t begin, std::uint64_t end) {
    SparseSpec spec;
    spec.capacity = end - begin;
    spec.grain_size = 4 * kKiB << between(0, 5);
    spec.zeroed_grains = chance(50);
    some_grains(begin, end, spec.grain_size, [&](std::uint64_t index, std::uint64_t at) {
      const std::uint64_t length = std::min(spec.grain_size, end - at);
      if (spec.zeroed_grains && chance(30)) {
        clear(at, length);
        spec.grains.push_back({.index = index, .entry = 1});
      } else {
        spec.grains.push_back({.index = index, .data = fill(at, length)});
      }
    });
    return spec;
  }

  void add_sparse() {
    SparseSpec spec = sparse(0, capacity_);
    spec.descriptor = descriptor("monolithicSparse");
    ASSERT_OK(build_sparse(files_, path(), spec));
  }

  void add_split() {
    std::vector<SparseSpec> parts;
    for (std::uint64_t begin = 0; begin < capacity_;) {
      const std::uint64_t end =
          std::min(capacity_, begin + kSectorSize * between(1, capacity_ / kSectorSize));
      parts.push_back(sparse(begin, end));
      begin = end;
    }
    ASSERT_OK(build_split_sparse(files_, path(), parts, descriptor("twoGbMaxExtentSparse")));
  }

  void add_flat() {
    std::vector<FlatSpec> parts;
    for (std::uint64_t begin = 0; begin < capacity_;) {
      FlatSpec part;
      part.length = std::min(capacity_ - begin, kSectorSize * between(1, capacity_ / kSectorSize));
      if (chance(30))
        part.type = "ZERO";
      else if (chance(70))
        part.data = fill(begin, part.length);
      part.access = chance(20) ? "RDONLY" : "RW";
      part.offset = part.type == "ZERO" ? 0 : kSectorSize * between(0, 3);
      begin += part.length;
      parts.push_back(part);
    }
    ASSERT_OK(build_flat(files_, path(), parts, descriptor("twoGbMaxExtentFlat")));
  }

  void add_vmfs() {
    ASSERT_OK(build_flat(files_, path(),
                         {{.length = capacity_, .data = fill(0, capacity_), .type = "VMFS"}},
                         descriptor("vmfs")));
  }

  void add_stream() {
    StreamSpec spec;
    spec.capacity = capacity_;
    spec.layout = static_cast<StreamLayout>(between(0, 2));
    spec.descriptor = descriptor("streamOptimized");
    some_grains(0, capacity_, spec.grain_size, [&](std::uint64_t index, std::uint64_t at) {
      spec.grains.push_back({.index = index,
                             .data = fill(at, spec.grain_size),
                             .level = static_cast<int>(between(0, 9))});
    });
    ASSERT_OK(build_stream(files_, path(), spec));
  }

  void add_cowd() {
    CowdSpec spec;
    spec.capacity = capacity_;
    spec.grain_size = static_cast<std::uint32_t>(kSectorSize << between(0, 7));
    spec.version = chance(20) ? 3 : 1;
    some_grains(0, capacity_, spec.grain_size, [&](std::uint64_t index, std::uint64_t at) {
      spec.grains.push_back({.index = index, .data = fill(at, spec.grain_size)});
    });
    ASSERT_OK(build_cowd_disk(files_, path(), spec, descriptor("vmfsSparse")));
  }

  void add_sesparse() {
    SeSparseSpec spec;
    spec.capacity = capacity_;
    some_grains(0, capacity_, spec.grain_size, [&](std::uint64_t index, std::uint64_t at) {
      if (chance(20)) {
        clear(at, spec.grain_size);
        spec.grains.push_back({.index = index, .entry = kSeZeroEntry});
      } else {
        spec.grains.push_back({.index = index, .data = fill(at, spec.grain_size)});
      }
    });
    ASSERT_OK(build_sesparse_disk(files_, path(), spec, descriptor("seSparse")));
  }

  using Adder = void (RandomChain::*)();

  struct Kind {
    const char* name;
    Adder add;
  };

  void add_one_of(const std::vector<Kind>& kinds) {
    const Kind& kind = kinds[between(0, kinds.size() - 1)];
    ++links_;
    story_ += std::string(story_.empty() ? "" : " < ") + kind.name;
    (this->*kind.add)();
  }

  void add_base() {
    add_one_of({{"sparse", &RandomChain::add_sparse},
                {"split", &RandomChain::add_split},
                {"flat", &RandomChain::add_flat},
                {"vmfs", &RandomChain::add_vmfs},
                {"stream", &RandomChain::add_stream},
                {"cowd", &RandomChain::add_cowd},
                {"sesparse", &RandomChain::add_sesparse}});
  }

  void add_child() {
    add_one_of({{"sparse", &RandomChain::add_sparse},
                {"split", &RandomChain::add_split},
                {"stream", &RandomChain::add_stream},
                {"cowd", &RandomChain::add_cowd},
                {"sesparse", &RandomChain::add_sesparse}});
  }

  void compare_pieces(Disk& disk) {
    for (int i = 0; i < 8; ++i) {
      const std::uint64_t at = between(0, capacity_ - 1);
      std::vector<std::byte> found(between(1, capacity_ - at));
      ASSERT_OK(disk.read(DiskOffset(at), found)) << story_;
      ASSERT_EQ(expected_.difference(at, found), std::nullopt) << story_;
    }
  }

  std::mt19937 random_;
  MemoryFileSystem files_;
  std::uint64_t capacity_ = 0;
  ReferenceDisk expected_{0};
  unsigned links_ = 0;
  std::string story_;  // the kinds, base first
};

TEST(RandomChainsTest, ReadAsTheirLinksSay) {
  for (unsigned seed = 1; seed <= chains() && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomChain chain(seed);
    chain.build();
    if (!HasFailure())
      chain.compare();
  }
}

}  // namespace
}  // namespace vmdk::test
