// Every kind of image, alone and under up to three children, against a model: in memory.
#include <cstddef>
#include <map>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "chain_work.h"
#include "shapes.h"
#include "support/memory_file_system.h"
#include "support/sparse_bytes.h"

namespace vmdk::test {
namespace {

using Contents = std::map<std::string, SparseBytes>;

Contents contents_of(const MemoryFileSystem& files) {
  Contents contents;
  for (const std::string& name : files.files())
    contents.emplace(name, files.content(name));
  return contents;
}

class ConformanceTest : public testing::TestWithParam<std::tuple<Shape, std::size_t>> {};

TEST_P(ConformanceTest, ShowsWhatTheModelShows) {
  const auto& [base, depth] = GetParam();
  MemoryFileSystem files;
  Contents parents;
  work_through_chain(
      files, "/vm", base, depth, [&] { parents = contents_of(files); },
      [&] {
        for (const auto& [name, content] : parents)
          EXPECT_TRUE(same_bytes(files.content(name), content))
              << name << ", a file of a parent, was changed";
      });
}

INSTANTIATE_TEST_SUITE_P(Kinds, ConformanceTest,
                         testing::Combine(testing::ValuesIn(base_shapes()),
                                          testing::Range<std::size_t>(0, 4)),
                         [](const auto& scenario) {
                           return scenario_name(std::get<0>(scenario.param),
                                                std::get<1>(scenario.param));
                         });

}  // namespace
}  // namespace vmdk::test
