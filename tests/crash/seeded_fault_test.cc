// The crash tests have teeth: an engine that writes in a wrong way is caught.

#include <algorithm>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/units.h>

#include "base/bytes.h"
#include "crash/meddling_file_system.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/file_helpers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

using Parts = std::span<const iovec>;

// Where the tables of a disk with one extent are.
struct Areas {
  std::uint64_t redundant = 0;
  std::uint64_t primary = 0;
  std::uint64_t data = 0;
  std::uint64_t text = 0;

  explicit Areas(const SampleDisk& sample) {
    const BuiltSparse& built = sample.extents[0].built;
    redundant = built.table_at(0, true);
    primary = built.table_at(0, false);
    data = built.layout.header.overhead.count() * kSectorSize;
    text = built.layout.header.descriptor_offset.count() * kSectorSize;
  }

  bool is_primary(FileOffset at) const { return at.bytes() >= primary && at.bytes() < data; }

  bool is_redundant(FileOffset at) const { return at.bytes() >= redundant && at.bytes() < primary; }

  bool is_table(FileOffset at) const { return is_primary(at) || is_redundant(at); }

  bool is_data(FileOffset at) const { return at.bytes() >= data; }

  bool is_text(FileOffset at) const { return at.bytes() >= text && at.bytes() < redundant; }
};

// A write put off.
struct Held {
  FileOffset at;
  std::vector<std::byte> bytes;

  Held(FileOffset where, Parts parts) : at(where) {
    for (const iovec& part : parts) {
      const auto* const begin = static_cast<const std::byte*>(part.iov_base);
      bytes.insert(bytes.end(), begin, begin + part.iov_len);
    }
  }
};

Status release(File& file, std::vector<Held>& held) {
  for (const Held& one : std::exchange(held, {}))
    RETURN_IF_ERROR(write_bytes(file, one.at.bytes(), one.bytes));
  return {};
}

// What was written since the last sync.
struct Since {
  bool data = false;
  bool tables = false;
  std::vector<Held> held;
};

using Seed = Meddling (*)(const Areas&, FileSystem&);

Meddling nothing(const Areas& /*areas*/, FileSystem& /*files*/) {
  return {};
}

Meddling without_barrier(const Areas& areas, bool first) {
  auto since = std::make_shared<Since>();
  return {.write =
              [=](File& file, FileOffset at, Parts parts) {
                since->data = since->data || areas.is_data(at);
                since->tables = since->tables || areas.is_table(at);
                return file.write(at, parts);
              },
          .sync =
              [=](File& file) {
                const Since was = std::exchange(*since, {});
                const bool drop = first ? was.data && !was.tables : was.tables;
                return drop ? Status{} : file.sync();
              }};
}

Meddling no_first_barrier(const Areas& areas, FileSystem& /*files*/) {
  return without_barrier(areas, true);
}

Meddling no_second_barrier(const Areas& areas, FileSystem& /*files*/) {
  return without_barrier(areas, false);
}

Meddling primary_first(const Areas& areas, FileSystem& /*files*/) {
  auto since = std::make_shared<Since>();
  return {.write = [=](File& file, FileOffset at, Parts parts) -> Status {
    if (areas.is_redundant(at)) {
      since->held.emplace_back(at, parts);
      return {};
    }
    RETURN_IF_ERROR(file.write(at, parts));
    return areas.is_primary(at) ? release(file, since->held) : Status{};
  }};
}

Meddling tables_before_data(const Areas& areas, FileSystem& /*files*/) {
  auto since = std::make_shared<Since>();
  return {.write = [=](File& file, FileOffset at, Parts parts) -> Status {
            if (areas.is_data(at)) {
              since->held.emplace_back(at, parts);
              // As long as if it had been written: a file that is shorter was cut by somebody.
              return file.grow(at.bytes() + since->held.back().bytes.size());
            }
            since->tables = since->tables || areas.is_table(at);
            return file.write(at, parts);
          },
          .sync = [=](File& file) -> Status {
            if (std::exchange(since->tables, false))
              RETURN_IF_ERROR(release(file, since->held));
            return file.sync();
          }};
}

Meddling no_mark(const Areas& /*areas*/, FileSystem& /*files*/) {
  return {.write = [](File& file, FileOffset at, Parts parts) {
    return at.bytes() == kUncleanMarkOffset ? Status{} : file.write(at, parts);
  }};
}

Meddling mark_gone_too_early(const Areas& areas, FileSystem& /*files*/) {
  return {.write = [=](File& file, FileOffset at, Parts parts) -> Status {
    if (areas.is_redundant(at))
      RETURN_IF_ERROR(write_bytes(file, kUncleanMarkOffset, filled(1, 0)));
    return file.write(at, parts);
  }};
}

Meddling no_copied_head(const Areas& areas, FileSystem& /*files*/) {
  return {.write = [=](File& file, FileOffset at, Parts parts) {
    if (!areas.is_data(at) || parts.size() != 3)
      return file.write(at, parts);
    return file.write(at + parts[0].iov_len, parts.subspan(1));
  }};
}

Meddling no_growth(const Areas& /*areas*/, FileSystem& /*files*/) {
  return {.grow = [](File& /*file*/, std::uint64_t /*end*/) { return Status{}; }};
}

Meddling no_primary(const Areas& areas, FileSystem& /*files*/) {
  return {.write = [=](File& file, FileOffset at, Parts parts) {
    return areas.is_primary(at) ? Status{} : file.write(at, parts);
  }};
}

Meddling no_redundant(const Areas& areas, FileSystem& /*files*/) {
  return {.write = [=](File& file, FileOffset at, Parts parts) {
    return areas.is_redundant(at) ? Status{} : file.write(at, parts);
  }};
}

// Forgets what the tables held of the neighbours.
Meddling blank_neighbours(const Areas& areas, FileSystem& /*files*/) {
  return {.write = [=](File& file, FileOffset at, Parts parts) {
    Held whole(at, parts);
    if (areas.is_table(at))
      std::fill_n(whole.bytes.begin(), 8 * 4, std::byte{0});
    return write_bytes(file, at.bytes(), whole.bytes);
  }};
}

Meddling parent_written(const Areas& areas, FileSystem& files) {
  return {.write = [=, &files](File& file, FileOffset at, Parts parts) -> Status {
    if (areas.is_table(at)) {
      ASSIGN_OR_RETURN(auto parent, files.open("/vm/parent.vmdk", Access::kReadWrite));
      RETURN_IF_ERROR(write_bytes(*parent, 60 * kKiB, filled(1, 0x55)));
    }
    return file.write(at, parts);
  }};
}

Meddling id_too_late(const Areas& areas, FileSystem& /*files*/) {
  auto since = std::make_shared<Since>();
  return {.write = [=](File& file, FileOffset at, Parts parts) -> Status {
    if (areas.is_text(at)) {
      since->held.emplace_back(at, parts);
      return {};
    }
    RETURN_IF_ERROR(file.write(at, parts));
    return areas.is_data(at) ? release(file, since->held) : Status{};
  }};
}

Meddling stray_byte(const Areas& areas, FileSystem& /*files*/) {
  return {.write = [=](File& file, FileOffset at, Parts parts) -> Status {
    RETURN_IF_ERROR(file.write(at, parts));
    // The disk's grain 1, which has data from the start and which nobody writes.
    return areas.is_table(at) ? write_bytes(file, areas.data + 100, filled(1, 0x55)) : Status{};
  }};
}

struct SeededFault {
  const char* name;
  Seed seed;
  bool states_show_it;  // some crash state is bad
  bool rules_show_it;   // a rule of the write order is broken
};

void PrintTo(const SeededFault& fault, std::ostream* out) {
  *out << fault.name;
}

constexpr SeededFault kFaults[] = {
    {"Nothing", nothing, false, false},
    {"NoFirstBarrier", no_first_barrier, true, true},
    {"NoSecondBarrier", no_second_barrier, true, true},
    {"PrimaryFirst", primary_first, false, true},
    {"TablesBeforeData", tables_before_data, true, true},
    {"NoMark", no_mark, true, true},
    {"MarkGoneTooEarly", mark_gone_too_early, true, true},
    {"NoCopiedHead", no_copied_head, true, false},
    {"NoGrowth", no_growth, true, true},
    {"NoPrimary", no_primary, true, true},
    {"NoRedundant", no_redundant, true, true},
    {"BlankNeighbours", blank_neighbours, true, false},
    {"ParentWritten", parent_written, true, true},
    {"IdTooLate", id_too_late, false, true},
    {"StrayByte", stray_byte, true, true},
};

class SeededFaultTest : public ::testing::TestWithParam<SeededFault> {};

TEST_P(SeededFaultTest, IsSeenWhereItShows) {
  const SeededFault& fault = GetParam();
  MemoryFileSystem initial;
  const SampleDisk sample = build_sample_disk(initial, SampleKind::kChild);
  const Areas areas(sample);
  CrashRun run(initial, sample, sample.content);
  using Kind = DiskOperation::Kind;
  const Status status = run.run(
      {
          {"a part of a grain over the parent", Kind::kWrite, 9 * kSampleGrain + 700, 900},
          {"flush", Kind::kFlush},
          {"its neighbour", Kind::kWrite, 8 * kSampleGrain, kSampleGrain},
          {"a part of a grain over nothing", Kind::kWrite, 100 * kSampleGrain + 700, 900},
      },
      [&](FileSystem& below) {
        return std::make_unique<MeddlingFileSystem>(below, fault.seed(areas, below));
      });
  ASSERT_TRUE(status) << status.error().to_text();
  const auto broken = broken_rule(run, initial);
  const CrashLimits limits{.exhaustive_pieces = 6};
  const Sweep result = sweep(run, limits, initial);
  EXPECT_EQ(broken.has_value(), fault.rules_show_it) << broken.value_or("no rule is broken");
  EXPECT_EQ(result.violation.has_value(), fault.states_show_it)
      << result.violation.value_or("no state is bad");
}

INSTANTIATE_TEST_SUITE_P(Faults, SeededFaultTest, ::testing::ValuesIn(kFaults),
                         [](const auto& fault) { return std::string(fault.param.name); });

}  // namespace
}  // namespace vmdk::test
