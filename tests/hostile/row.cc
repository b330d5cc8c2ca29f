#include "row.h"

#include <algorithm>
#include <ctime>

#include "support/heap.h"

namespace vmdk::test {
namespace {

constexpr std::size_t kMostMemory = 32 * kMiB;
constexpr std::uint64_t kMostRead = 8 * kMiB;
constexpr std::size_t kTouched = 512;

}  // namespace

void HostileRowTest::within_limits(const std::function<void()>& what) {
  files_.reset();
  const MemoryGauge gauge;
  const std::clock_t begin = std::clock();
  what();
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, GetParam().seconds);
  EXPECT_LT(gauge.highest(), kMostMemory);
  EXPECT_LT(files_.total().read_bytes(), kMostRead);
  EXPECT_EQ(files_.total().writes(), 0U);
}

void HostileRowTest::expect_refusal(Access access) {
  within_limits([&] {
    const auto disk = open(kImage, access);
    ASSERT_FALSE(disk) << "it was opened";
    const std::string text = disk.error().to_text();
    EXPECT_NE(text.find(GetParam().object), std::string::npos) << text;
    const bool other = access == Access::kReadWrite && !GetParam().write_cause.empty();
    const std::string& cause = other ? GetParam().write_cause : GetParam().cause;
    EXPECT_NE(text.find(cause), std::string::npos) << text;
    EXPECT_FALSE(cause.empty()) << text;
  });
}

void HostileRowTest::expect_open(Access access) {
  within_limits([&] {
    ASSERT_OK_AND_ASSIGN(const auto disk, open(kImage, access));
    std::vector<std::byte> bytes(std::min<std::uint64_t>(disk->capacity(), kMiB));
    EXPECT_OK(disk->read(DiskOffset(0), bytes));
    EXPECT_OK(disk->close());
  });
  if (GetParam().answer == Answer::kOpened) {
    EXPECT_NE(log_.find(GetParam().cause), std::string::npos) << log_;
  }
}

void HostileRowTest::expect_bad_place() {
  const Row& row = GetParam();
  within_limits([&] {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly(kImage));
    std::vector<std::byte> bytes(kTouched);
    const auto bad = disk->read(DiskOffset(row.bad_at), bytes);
    EXPECT_THAT(bad, FailsWith(EIO));
    EXPECT_THAT(bad, HasMessage(row.object));
    EXPECT_THAT(bad, HasMessage(row.read_error));
    EXPECT_OK(disk->read(DiskOffset(row.good_at), bytes));
    EXPECT_OK(disk->close());
  });
}

void HostileRowTest::expect_answer() {
  const Row& row = GetParam();
  row.make(memory_);
  ASSERT_FALSE(HasFailure());
  const auto before = all_bytes();
  const Answer answer = row.answer;
  if (answer == Answer::kOpened)
    expect_open(Access::kReadWrite);
  else
    expect_refusal(Access::kReadWrite);
  if (answer == Answer::kRefused)
    expect_refusal(Access::kReadOnly);
  else if (answer == Answer::kUnreadable)
    expect_bad_place();
  else
    expect_open(Access::kReadOnly);
  within_limits([&] {
    const auto report = check_image(files_, kImage, {});
    if (row.damaged && (answer == Answer::kRefused || answer == Answer::kUnreadable)) {
      EXPECT_TRUE(!report || report->exit_code() != 0) << "called clean";
    }
  });
  EXPECT_EQ(all_bytes(), before);
}

TEST_P(HostileRowTest, IsAnswered) {
  expect_answer();
}

}  // namespace vmdk::test
