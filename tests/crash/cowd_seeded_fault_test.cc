// What a faulty engine does to a COWD delta is seen by the rules and by the crash states.
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "crash/meddling_file_system.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

using Parts = std::span<const iovec>;

constexpr std::uint64_t kDirectory = 2048;
constexpr std::uint64_t kDirectoryEnd = 2048 + 512;

bool is_delta(const File& file) {
  return file.name().find("-delta.vmdk") != std::string::npos;
}

bool is_name(FileOffset at) {
  return at.bytes() >= kDirectory && at.bytes() < kDirectoryEnd;
}

// What was written to the delta since its last sync.
struct Since {
  bool data = false;
  bool names = false;
};

Meddling without_barrier(bool first) {
  auto since = std::make_shared<Since>();
  return {.write =
              [=](File& file, FileOffset at, Parts parts) {
                if (is_delta(file)) {
                  since->names = since->names || is_name(at);
                  since->data = since->data || at.bytes() >= kDirectoryEnd;
                }
                return file.write(at, parts);
              },
          .sync =
              [=](File& file) {
                if (!is_delta(file))
                  return file.sync();
                const Since was = std::exchange(*since, {});
                const bool drop = first ? was.data && !was.names : was.names;
                return drop ? Status{} : file.sync();
              }};
}

Meddling no_free_sector() {
  return {.write = [](File& file, FileOffset at, Parts parts) {
    return is_delta(file) && at.bytes() == kCowdFreeSectorAt ? Status{} : file.write(at, parts);
  }};
}

Meddling no_name() {
  return {.write = [](File& file, FileOffset at, Parts parts) {
    return is_delta(file) && is_name(at) ? Status{} : file.write(at, parts);
  }};
}

struct CowdFault {
  const char* name;
  std::function<Meddling()> seed;
  bool states_show_it;
  bool rules_show_it;
};

void PrintTo(const CowdFault& fault, std::ostream* out) {
  *out << fault.name;
}

const CowdFault kFaults[] = {
    {"Nothing", [] { return Meddling(); }, false, false},
    {"NoFirstBarrier", [] { return without_barrier(true); }, true, true},
    {"NoSecondBarrier", [] { return without_barrier(false); }, true, true},
    {"NoFreeSector", no_free_sector, false, true},
    {"NoName", no_name, true, false},
};

class CowdSeededFaultTest : public ::testing::TestWithParam<CowdFault> {};

TEST_P(CowdSeededFaultTest, IsSeenWhereItShows) {
  const CowdFault& fault = GetParam();
  MemoryFileSystem initial;
  const SampleDisk sample = build_sample_disk(initial, SampleKind::kCowdChild);
  CrashRun run(initial, sample, sample.content);
  using Kind = DiskOperation::Kind;
  const Status status = run.run(
      {
          {"a part of a grain over the parent", Kind::kWrite, 9 * kSampleGrain + 700, 900},
          {"flush", Kind::kFlush},
          {"in the second table", Kind::kWrite, sample.border + 512, 1024},
      },
      [&](FileSystem& below) { return std::make_unique<MeddlingFileSystem>(below, fault.seed()); });
  ASSERT_TRUE(status) << status.error().to_text();
  const auto broken = broken_rule(run, initial);
  const Sweep result = sweep(run, {.exhaustive_pieces = 6}, initial);
  EXPECT_EQ(broken.has_value(), fault.rules_show_it) << broken.value_or("no rule is broken");
  EXPECT_EQ(result.violation.has_value(), fault.states_show_it)
      << result.violation.value_or("no state is bad");
}

INSTANTIATE_TEST_SUITE_P(Faults, CowdSeededFaultTest, ::testing::ValuesIn(kFaults),
                         [](const auto& fault) { return std::string(fault.param.name); });

}  // namespace
}  // namespace vmdk::test
