#include "vmdkfuse/control_socket.h"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "support/matchers.h"

namespace vmdkfuse::test {
namespace {

// A number that no mount has: minor numbers without a device have 20 bits, this major is none of
// theirs.
const dev_t kDevice = makedev(4000, 1234);

class ControlSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!control_folder())
      GTEST_SKIP() << "no folder for sockets: XDG_RUNTIME_DIR is not set";
  }

  static std::string next_line(ControlClient& client) {
    bool timed_out = false;
    return client.next_line(std::chrono::seconds(10), timed_out).value_or("nothing");
  }
};

TEST_F(ControlSocketTest, TellsPeersOfBeforeAndAfter) {
  auto daemon = ControlSocket::listen(kDevice);
  ASSERT_OK(daemon);
  auto early = ControlClient::connect(kDevice, std::nullopt);
  ASSERT_TRUE(early);
  EXPECT_EQ(early->daemon(), getpid());
  daemon->say("closing");
  auto late = ControlClient::connect(kDevice, std::nullopt);
  ASSERT_TRUE(late);
  daemon->say("done");
  for (ControlClient* each : {&*early, &*late}) {
    EXPECT_EQ(next_line(*each), "closing");
    EXPECT_EQ(next_line(*each), "done");
  }
}

TEST_F(ControlSocketTest, RemovesItsName) {
  { ASSERT_OK(ControlSocket::listen(kDevice)); }
  EXPECT_FALSE(ControlClient::connect(kDevice, std::nullopt));
}

// The kernel gives a number away again while the daemon that had it is still closing its image.
TEST_F(ControlSocketTest, LeavesTheNameOfTheNextDaemon) {
  std::optional<ControlSocket> closing = *ControlSocket::listen(kDevice);
  auto next = ControlSocket::listen(kDevice);
  ASSERT_OK(next);
  closing.reset();
  auto client = ControlClient::connect(kDevice, std::nullopt);
  ASSERT_TRUE(client);
  next->say("done");
  EXPECT_EQ(next_line(*client), "done");
}

}  // namespace
}  // namespace vmdkfuse::test
