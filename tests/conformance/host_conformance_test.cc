// Some of the scenarios on files of the host, where writes, holes, growth and locks are real.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "chain_work.h"
#include "io/posix_file_system.h"
#include "shapes.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

// Small disks: every byte of every parent is read again.
std::vector<Shape> shapes_on_the_host() {
  std::vector<Shape> small;
  for (const Shape& shape : base_shapes())
    if (shape.capacity() <= 8 * kMiB)
      small.push_back(shape);
  return small;
}

std::map<std::string, std::string> contents_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    contents[entry.path().filename().string()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return contents;
}

class HostConformanceTest : public testing::TestWithParam<std::tuple<Shape, std::size_t>> {};

TEST_P(HostConformanceTest, ShowsWhatTheModelShows) {
  const auto& [base, depth] = GetParam();
  const TempDir folder;
  PosixFileSystem files;
  std::map<std::string, std::string> parents;
  work_through_chain(
      files, folder.path(), base, depth, [&] { parents = contents_of(folder.path()); },
      [&] {
        const auto now = contents_of(folder.path());
        for (const auto& [name, content] : parents)
          EXPECT_TRUE(now.at(name) == content) << name << ", a file of a parent, was changed";
      });
}

INSTANTIATE_TEST_SUITE_P(Kinds, HostConformanceTest,
                         testing::Combine(testing::ValuesIn(shapes_on_the_host()),
                                          testing::Values<std::size_t>(0, 2)),
                         [](const auto& scenario) {
                           return scenario_name(std::get<0>(scenario.param),
                                                std::get<1>(scenario.param));
                         });

}  // namespace
}  // namespace vmdk::test
