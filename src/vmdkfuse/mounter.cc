#include "vmdkfuse/mounter.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <sstream>
#include <utility>

#include "vmdkfuse/mounter_messages.h"
#include "vmdkfuse/mounter_process.h"

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;
using vmdk::UniqueFd;

MounterReply ask(const UniqueFd& socket, MounterOrder order) {
  if (send_order(socket.get(), order)) {
    if (auto reply = receive_reply(socket.get()))
      return *std::move(reply);
  }
  return {{Unmounted::kFailed, "the process that mounts and unmounts has ended"}, {}};
}

}  // namespace

Result<Mounter> Mounter::start(const Options& options, const std::string& mountpoint) {
  UniqueFd ours;
  UniqueFd theirs;
  RETURN_IF_ERROR(make_message_pair(ours, theirs));
  const pid_t daemon = getpid();
  // What is buffered would be written twice.
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0)
    return Error::from_errno(errno, "fork");
  if (child == 0)
    run_mounter(std::move(theirs), options, mountpoint, daemon);
  return Mounter(std::move(ours), child);
}

Mounter::~Mounter() {
  if (!socket_)
    return;
  // Names that nobody can remove any more are no reason not to end.
  static_cast<void>(ask(socket_, MounterOrder::kRemoveNames));
  socket_ = UniqueFd();
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<UniqueFd> Mounter::mount(bool read_only) {
  MounterReply reply =
      ask(socket_, read_only ? MounterOrder::kMountReadOnly : MounterOrder::kMountWritable);
  if (reply.outcome.result != Unmounted::kDone)
    return Error::make(ErrorCode::kIo, std::move(reply.outcome.text));
  // The kernel drops a descriptor for which the receiver has no number left.
  if (!reply.descriptor)
    return Error::from_errno(EMFILE, "the descriptor of the mount");
  return std::move(reply.descriptor);
}

Result<Mounter::Published> Mounter::publish() {
  MounterReply reply = ask(socket_, MounterOrder::kPublish);
  if (reply.outcome.result != Unmounted::kDone)
    return Error::make(ErrorCode::kIo, std::move(reply.outcome.text));
  return Published{std::move(reply.descriptor), std::move(reply.outcome.text)};
}

bool Mounter::remove_overlay() {
  return ask(socket_, MounterOrder::kRemoveOverlay).outcome.result == Unmounted::kDone;
}

std::vector<std::string> Mounter::tune_bdi() {
  std::istringstream text(ask(socket_, MounterOrder::kTuneBdi).outcome.text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);)
    lines.push_back(line);
  return lines;
}

bool Mounter::mount_is_dead() {
  return ask(socket_, MounterOrder::kIsDead).outcome.result == Unmounted::kBusy;
}

UnmountOutcome Mounter::unmount(bool detach) {
  return ask(socket_, detach ? MounterOrder::kDetach : MounterOrder::kUnmount).outcome;
}

}  // namespace vmdkfuse
