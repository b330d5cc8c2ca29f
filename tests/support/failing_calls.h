// System calls that fail as on another system: by a filter of the kernel's (seccomp), so whoever
// makes them, this program, the C library or a program that it starts, gets the errno.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <thread>
#include <vector>

namespace vmdk::test {

struct FailingCall {
  long number;  // SYS_…
  int err;
};

// From here on the calls fail in this thread and in all that it starts. False: this system lets no
// process filter its calls. Cannot be undone; needs no privilege.
inline bool fail_system_calls(std::initializer_list<FailingCall> calls) {
  const auto value = [](auto number) { return static_cast<std::uint32_t>(number); };
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const FailingCall& call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value(call.number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | value(call.err)));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Runs `body` on a thread of its own in which the calls fail, and waits for it. False: as above,
// and `body` was not run.
template <class Body>
bool with_failing_calls(std::initializer_list<FailingCall> calls, Body body) {
  bool filtered = false;
  std::thread([&] {
    filtered = fail_system_calls(calls);
    if (filtered)
      body();
  }).join();
  return filtered;
}

}  // namespace vmdk::test
