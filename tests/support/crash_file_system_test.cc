#include "support/crash_file_system.h"

#include <chrono>
#include <set>
#include <thread>

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "support/file_helpers.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

class CrashFileSystemTest : public ::testing::Test {
 protected:
  // The contents of `name` in all states of the point; "(none)" where it is not there.
  static std::set<std::string> contents(const CrashFileSystem& fs, std::size_t point,
                                        const char* name, const CrashLimits& limits = {}) {
    std::set<std::string> found;
    fs.for_each_state(point, limits, [&](CrashState& state) {
      found.insert(state.file_system->exists(name) ? state.file_system->text(name) : "(none)");
    });
    return found;
  }

  static std::string sectors(std::initializer_list<char> letters) {
    std::string text;
    for (const char letter : letters)
      text += std::string(kSectorSize, letter);
    return text;
  }

  MemoryFileSystem initial_;
};

TEST_F(CrashFileSystemTest, OneWriteOfThreeSectorsMakesEightStates) {
  initial_.put("a", sectors({'.', '.', '.'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, sectors({'1', '2', '3'})));
  EXPECT_EQ(contents(fs, 0, "a"), (std::set{sectors({'.', '.', '.'})}));
  const std::set<std::string> expected = {sectors({'.', '.', '.'}), sectors({'1', '.', '.'}),
                                          sectors({'.', '2', '.'}), sectors({'.', '.', '3'}),
                                          sectors({'1', '2', '.'}), sectors({'1', '.', '3'}),
                                          sectors({'.', '2', '3'}), sectors({'1', '2', '3'})};
  EXPECT_EQ(contents(fs, 1, "a"), expected);
  EXPECT_EQ(initial_.text("a"), sectors({'.', '.', '.'}));
  EXPECT_EQ(fs.live().text("a"), sectors({'1', '2', '3'}));
}

TEST_F(CrashFileSystemTest, UnalignedWriteIsTornAtSectorEnds) {
  initial_.put("a", sectors({'.', '.'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 510, "abcd"));
  const auto with = [](std::string_view middle) {
    return std::string(510, '.') + std::string(middle) + std::string(510, '.');
  };
  EXPECT_EQ(contents(fs, 1, "a"),
            (std::set{with("...."), with("ab.."), with("..cd"), with("abcd")}));
}

TEST_F(CrashFileSystemTest, LaterWriteToASectorSupersedesOnlyWhenItArrived) {
  initial_.put("a", sectors({'.'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, sectors({'1'})));
  ASSERT_OK(write_text(*file, 0, sectors({'2'})));
  EXPECT_EQ(contents(fs, 2, "a"), (std::set{sectors({'.'}), sectors({'1'}), sectors({'2'})}));
}

TEST_F(CrashFileSystemTest, PartOfASectorNeverArrivesWithoutTheWriteBeforeIt) {
  initial_.put("a", std::string(8, '.'));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, "11111111"));
  ASSERT_OK(write_text(*file, 4, "22"));
  EXPECT_EQ(contents(fs, 2, "a"), (std::set<std::string>{"........", "11111111", "11112211"}));
}

TEST_F(CrashFileSystemTest, SyncedWritesAreInEveryStateAndOtherFilesStayOpen) {
  initial_.put("a", sectors({'.'}));
  initial_.put("b", sectors({'.'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto a, fs.open("a", Access::kReadWrite));
  ASSERT_OK_AND_ASSIGN(auto b, fs.open("b", Access::kReadWrite));
  ASSERT_OK(write_text(*a, 0, sectors({'1'})));
  ASSERT_OK(write_text(*b, 0, sectors({'1'})));
  ASSERT_OK(a->sync());
  EXPECT_EQ(contents(fs, 2, "a"), (std::set{sectors({'.'}), sectors({'1'})}));
  EXPECT_EQ(contents(fs, 3, "a"), (std::set{sectors({'1'})}));
  EXPECT_EQ(contents(fs, 3, "b"), (std::set{sectors({'.'}), sectors({'1'})}));
}

TEST_F(CrashFileSystemTest, AppendedDataMayBeThereWithEverySizeOfTheFile) {
  initial_.put("a", "");
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(file->grow(3 * kSectorSize));
  ASSERT_OK(write_text(*file, 0, sectors({'1', '2'})));
  const auto zeroed = [](std::string text) {
    std::replace(text.begin(), text.end(), '0', '\0');
    return text;
  };
  const std::set<std::string> expected = {"",
                                          sectors({'1'}),
                                          zeroed(sectors({'0', '2'})),
                                          sectors({'1', '2'}),
                                          zeroed(sectors({'0', '0', '0'})),
                                          zeroed(sectors({'1', '0', '0'})),
                                          zeroed(sectors({'0', '2', '0'})),
                                          zeroed(sectors({'1', '2', '0'}))};
  EXPECT_EQ(contents(fs, 2, "a"), expected);
  ASSERT_OK(file->sync());
  EXPECT_EQ(contents(fs, 3, "a"), (std::set{zeroed(sectors({'1', '2', '0'}))}));
}

TEST_F(CrashFileSystemTest, ShorteningMayHaveHappenedOrNot) {
  initial_.put("a", sectors({'1', '2'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(file->resize(kSectorSize));
  EXPECT_EQ(contents(fs, 1, "a"), (std::set{sectors({'1', '2'}), sectors({'1'})}));
}

TEST_F(CrashFileSystemTest, PunchedHoleMayBeThereOrNot) {
  initial_.put("a", sectors({'1', '2'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(file->punch_hole(FileOffset(0), kSectorSize));
  EXPECT_EQ(contents(fs, 1, "a"), (std::set{sectors({'1', '2'}), sectors({'\0', '2'})}));
}

TEST_F(CrashFileSystemTest, NamesAreDurableOnceTheirDirectoryIsSynced) {
  initial_.put("dir/old", "old");
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.create("dir/new"));
  ASSERT_OK(write_text(*file, 0, "text"));
  ASSERT_OK(file->sync());
  ASSERT_OK(fs.remove("dir/old"));
  EXPECT_EQ(contents(fs, 4, "dir/new"), (std::set<std::string>{"(none)", "text"}));
  EXPECT_EQ(contents(fs, 4, "dir/old"), (std::set<std::string>{"(none)", "old"}));
  ASSERT_OK(fs.sync_directory("dir"));
  EXPECT_EQ(contents(fs, 5, "dir/new"), (std::set<std::string>{"text"}));
  EXPECT_EQ(contents(fs, 5, "dir/old"), (std::set<std::string>{"(none)"}));
}

TEST_F(CrashFileSystemTest, NewFileUnderAnOldNameNeverShowsTheOldContent) {
  initial_.put("a", "old");
  CrashFileSystem fs(initial_);
  ASSERT_OK(fs.remove("a"));
  ASSERT_OK_AND_ASSIGN(auto file, fs.create("a"));
  ASSERT_OK(fs.sync_directory("."));
  ASSERT_OK(write_text(*file, 0, "new"));
  ASSERT_OK(file->sync());
  EXPECT_EQ(contents(fs, 3, "a"), (std::set<std::string>{""}));
  EXPECT_EQ(contents(fs, 4, "a"), (std::set<std::string>{"", std::string(3, '\0'), "new"}));
  EXPECT_EQ(contents(fs, 5, "a"), (std::set<std::string>{"new"}));
}

TEST_F(CrashFileSystemTest, ManyPiecesAreTriedInFamilies) {
  constexpr std::size_t kPieces = 40;
  initial_.put("a", std::string(kPieces * kSectorSize, '.'));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, std::string(kPieces * kSectorSize, 'x')));
  CrashLimits limits;
  limits.is_metadata = [](const std::string&, std::uint64_t at) { return at < 4 * kSectorSize; };
  std::set<std::string> masks;
  const std::size_t visited = fs.for_each_state(1, limits, [&](CrashState& state) {
    std::string mask;
    for (std::size_t i = 0; i < kPieces; ++i)
      mask += state.file_system->text("a")[i * kSectorSize];
    masks.insert(mask);
  });
  // A prefix of one piece is one that is present, one of all but one is one that is missing, one of
  // all is everything, and one of four are the tables.
  EXPECT_EQ(visited, 2 + 3 * kPieces + 2 + 64 - 4);
  const auto run = [](std::size_t length, char letter) { return std::string(length, letter); };
  EXPECT_TRUE(masks.contains(run(40, '.')));
  EXPECT_TRUE(masks.contains(run(40, 'x')));
  EXPECT_TRUE(masks.contains(run(17, 'x') + run(23, '.')));
  EXPECT_TRUE(masks.contains(run(17, 'x') + "." + run(22, 'x')));
  EXPECT_TRUE(masks.contains(run(17, '.') + "x" + run(22, '.')));
  EXPECT_TRUE(masks.contains(run(4, 'x') + run(36, '.')));
  EXPECT_TRUE(masks.contains(run(4, '.') + run(36, 'x')));
}

TEST_F(CrashFileSystemTest, ManyPiecesAreSampledWithinTheLimits) {
  initial_.put("a", "");
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  for (std::uint64_t i = 0; i < 500; ++i)
    ASSERT_OK(write_text(*file, i * kSectorSize, sectors({'x'})));
  CrashLimits limits;
  limits.of_each_family = 10;
  limits.random_subsets = 5;
  // Each choice of pieces comes with at most three sizes.
  EXPECT_LE(fs.for_each_state(500, limits, [](CrashState&) {}), 3 * (2 + 3 * 10 + 5));
}

TEST_F(CrashFileSystemTest, AtMostSoManyStatesAreDrawnBySeed) {
  constexpr std::size_t kPieces = 10;
  initial_.put("a", std::string(kPieces * kSectorSize, '.'));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, std::string(kPieces * kSectorSize, 'x')));
  const auto drawn = [&](std::uint64_t seed, std::size_t most) {
    std::set<std::string> texts;
    fs.for_each_state(1, {.seed = seed, .most = most},
                      [&](CrashState& state) { texts.insert(state.file_system->text("a")); });
    return texts;
  };
  EXPECT_EQ(drawn(1, 5), drawn(1, 5));
  EXPECT_NE(drawn(1, 5), drawn(2, 5));
  EXPECT_EQ(drawn(3, 1).size(), 1U);
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    EXPECT_EQ(drawn(seed, 5).size(), 5U);
    EXPECT_TRUE(drawn(seed, 5).contains(std::string(kPieces * kSectorSize, '.')));
    EXPECT_TRUE(drawn(seed, 5).contains(std::string(kPieces * kSectorSize, 'x')));
  }
}

// The files, their lengths and contents.
std::string all_of(const MemoryFileSystem& files) {
  std::string text;
  for (const std::string& name : files.files())
    text += name + "(" + files.text(name) + ")";
  return text;
}

TEST_F(CrashFileSystemTest, PointsInOneGoHaveTheStatesThatTheyHaveAlone) {
  initial_.put("d/a", sectors({'.', '.'}));
  initial_.put("d/gone", "g");
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("d/a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, sectors({'1', '1'})));
  ASSERT_OK_AND_ASSIGN(auto made, fs.create("d/new"));
  ASSERT_OK(write_text(*made, 100, "n"));
  ASSERT_OK(file->sync());
  ASSERT_OK(write_text(*file, kSectorSize, sectors({'2', '2'})));
  ASSERT_OK(fs.remove("d/gone"));
  ASSERT_OK(made->sync());
  ASSERT_OK(file->resize(kSectorSize));
  ASSERT_OK(fs.sync_directory("d"));
  ASSERT_OK(file->grow(3 * kSectorSize));
  ASSERT_OK(made->punch_hole(FileOffset(100), 1));
  ASSERT_OK(fs.remove("d/new"));
  ASSERT_OK_AND_ASSIGN(auto second, fs.create("d/new"));
  ASSERT_OK(file->sync());
  ASSERT_OK(write_text(*second, 0, "second"));
  std::vector<std::size_t> points;
  std::vector<std::string> alone;
  for (std::size_t point = 0; point < fs.points(); ++point) {
    points.push_back(point);
    fs.for_each_state(point, {},
                      [&](CrashState& state) { alone.push_back(all_of(*state.file_system)); });
  }
  std::vector<std::string> together;
  fs.for_each_state(points, {},
                    [&](CrashState& state) { together.push_back(all_of(*state.file_system)); });
  EXPECT_EQ(together, alone);
  EXPECT_GT(alone.size(), 2 * points.size());
}

TEST_F(CrashFileSystemTest, MarkersTellWhatHadHappened) {
  initial_.put("a", sectors({'.'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, "1"));
  ASSERT_OK(file->sync());
  fs.marker("fsync returned");
  ASSERT_OK(write_text(*file, 0, "2"));
  EXPECT_EQ(fs.point_now(), 4U);
  EXPECT_EQ(fs.points(), 5U);
  EXPECT_TRUE(fs.markers_before(2).empty());
  EXPECT_EQ(fs.markers_before(3), (std::vector<std::string>{"fsync returned"}));
  EXPECT_EQ(fs.boundary_points(), (std::vector<std::size_t>{1, 2, 4}));
}

TEST_F(CrashFileSystemTest, StatesAreTheCallersAndNamedInFailures) {
  initial_.put("a", sectors({'.'}));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(write_text(*file, 0, sectors({'1'})));
  fs.for_each_state(1, {}, [](CrashState& state) { state.file_system->truncate("a", 0); });
  EXPECT_EQ(contents(fs, 1, "a"), (std::set{sectors({'.'}), sectors({'1'})}));
  EXPECT_EQ(fs.everything_at(1)->text("a"), sectors({'1'}));
  static const CrashFileSystem* recorded = nullptr;
  recorded = &fs;
  EXPECT_NONFATAL_FAILURE(
      recorded->for_each_state(1, {},
                               [](CrashState& state) {
                                 if (state.file_system->text("a")[0] == '1')
                                   ADD_FAILURE() << "found";
                               }),
      "crash at point 1 of 1, behind write a at 0 length 512; subset: 1 of 1 open pieces arrived: "
      "[a@0+512]");
}

TEST_F(CrashFileSystemTest, WorkloadMayHaveManyThreads) {
  initial_.put("a", std::string(64 * kKiB, '.'));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  std::vector<std::thread> threads;
  for (std::uint64_t number = 0; number < 4; ++number) {
    threads.emplace_back([&file, number] {
      for (std::uint64_t round = 0; round < 20; ++round)
        EXPECT_OK(write_text(*file, (number + round) * kSectorSize, sectors({'x'})));
      EXPECT_OK(file->sync());
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(fs.points(), 4 * 21 + 1U);
  EXPECT_EQ(fs.everything_at(fs.points() - 1)->text("a"), fs.live().text("a"));
}

TEST_F(CrashFileSystemTest, ThousandsOfStatesTakeASecondAtMost) {
  initial_.put("a", std::string(4 * kMiB, '.'));
  CrashFileSystem fs(initial_);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  for (std::uint64_t i = 0; i < 12; ++i)
    ASSERT_OK(write_text(*file, i * 300 * kKiB, sectors({'x'})));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(fs.for_each_state(12, {}, [](CrashState&) {}), 4096U);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  RecordProperty("most_states_a_second", static_cast<int>(4096 / taken.count()));
  EXPECT_LT(taken.count(), 10) << "sanitizers included";
}

}  // namespace
}  // namespace vmdk::test
