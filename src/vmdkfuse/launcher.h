// Going into the background without losing the outcome of the start.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "io/unique_fd.h"

namespace vmdkfuse {

// The daemon's side: says once how the start went. In the foreground there is nobody to tell.
class Reporter {
 public:
  Reporter() = default;

  explicit Reporter(vmdk::UniqueFd pipe) : pipe_(std::move(pipe)) {}

  bool in_background() const noexcept { return static_cast<bool>(pipe_); }

  // After this the program that started us has ended; stderr is not ours any more.
  void ready() noexcept;
  // `text` is printed by whoever owns stderr.
  void failed(int exit_code, std::string_view text) noexcept;

 private:
  vmdk::UniqueFd pipe_;
};

// Runs `daemon` in a child and waits until it reports. Returns the exit code for the program that
// the user started, after printing what the daemon had to say. In the child it returns what
// `daemon` returns. The child has its own session; no threads may exist yet.
int launch(const std::function<int(Reporter&)>& daemon);

}  // namespace vmdkfuse
