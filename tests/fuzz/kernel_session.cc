#include "kernel_session.h"

#include <fcntl.h>

#include <memory>
#include <string>

#include "fuse/compat.h"
#include "fuse/front.h"
#include "fuse/libfuse_log.h"
#include "fuse/request_loop.h"
#include "fuse/requests.h"
#include "fuzz_input.h"

namespace vmdk::test {
namespace {

// libfuse gives the session's user data to the handlers, who take a Front; so this is found here.
KernelSide* present = nullptr;

vmdkfuse::PrivilegePromise& promise_of(void* user_data) {
  return static_cast<vmdkfuse::Front*>(user_data)->privilege_promise;
}

ssize_t read_message(int, void* buffer, std::size_t length, void* user_data) {
  const ssize_t got = present->read({static_cast<std::byte*>(buffer), length});
  if (got > 0)
    promise_of(user_data).see_request(buffer, static_cast<std::size_t>(got));
  return got;
}

ssize_t take_answer(int, iovec* parts, int count, void* user_data) {
  promise_of(user_data).see_answer(parts, count);
  return present->writev({parts, static_cast<std::size_t>(count)});
}

struct FreeArguments {
  void operator()(fuse_args* arguments) const noexcept { fuse_opt_free_args(arguments); }
};

struct DestroySession {
  void operator()(fuse_session* session) const noexcept { fuse_session_destroy(session); }
};

// As Server::Impl does it, without a mount.
int serve(vmdkfuse::Front& front) {
  vmdkfuse::LibfuseLog log(front.options.log);
  const auto handlers = vmdkfuse::request_handlers();
  char name[] = "vmdkfuse";
  char* words[] = {name, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(1, words);
  const std::unique_ptr<fuse_args, FreeArguments> owner(&arguments);
  const std::unique_ptr<fuse_session, DestroySession> session(
      fuse_session_new(&arguments, &handlers, sizeof handlers, &front));
  require(session != nullptr, "a session is made");
  fuse_custom_io io{};
  io.read = read_message;
  io.writev = take_answer;
  require(fuse_session_custom_io(session.get(), &io, open("/dev/null", O_RDWR | O_CLOEXEC)) == 0,
          "a session takes its messages from here");
  log.take_collected();
  front.on_init = [] {};
  front.figures = [] { return std::string("reads 0\n"); };
  front.show_time = [] {};
  front.notifier.start({.refresh_attributes = [] {},
                        .refresh_blocks = [] {},
                        .restore_size = [] {},
                        .drop_pages = [] {}});
  const int result = vmdkfuse::RequestLoop(*session, 1, 1).run();
  front.notifier.stop();
  return result;
}

}  // namespace

int serve_messages(Disk& disk, const vmdkfuse::MountOptions& options, KernelSide& kernel) {
  vmdkfuse::Front front(disk, options);
  present = &kernel;
  const int result = serve(front);
  present = nullptr;
  return result;
}

}  // namespace vmdk::test
