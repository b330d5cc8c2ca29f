#include "fuse/error_log.h"

#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace vmdkfuse {
namespace {

class ErrorLogTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines_;
  const vmdk::LogSink sink_ = [this](vmdk::LogLevel, std::string_view text) {
    lines_.emplace_back(text);
  };
  ErrorLog log_{sink_};
};

TEST_F(ErrorLogTest, AnswersTheErrnoAndSaysWhy) {
  EXPECT_EQ(log_.report("read", vmdk::Error::from_errno(EIO, "disk.vmdk")), EIO);
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_EQ(lines_[0], "read: disk.vmdk: Input/output error");
}

TEST_F(ErrorLogTest, ExpectedRefusalsAreNotLogged) {
  EXPECT_EQ(log_.report("write", vmdk::Error::from_errno(ENOSPC, "x")), ENOSPC);
  EXPECT_EQ(log_.report("discard", vmdk::Error::from_errno(EOPNOTSUPP, "x")), EOPNOTSUPP);
  EXPECT_TRUE(lines_.empty());
}

TEST_F(ErrorLogTest, AFloodIsCutOff) {
  for (int i = 0; i < 1000; ++i)
    EXPECT_EQ(log_.report("read", vmdk::Error::from_errno(EIO, "x")), EIO);
  EXPECT_EQ(lines_.size(), ErrorLog::kPerPeriod);
}

TEST(ErrorLogWithoutSinkTest, StillAnswers) {
  const vmdk::LogSink none;
  EXPECT_EQ(ErrorLog(none).report("read", vmdk::Error::from_errno(EIO, "x")), EIO);
}

}  // namespace
}  // namespace vmdkfuse
