// Stand-ins for some functions of the C library, linked into the test binary before the library's.
// Unless a test asks for something they do what the system does, and count.
#pragma once

#include <atomic>
#include <cstddef>

namespace vmdk::system_calls {

struct Plan {
  std::atomic<std::size_t> most_bytes{SIZE_MAX};  // of one read or write
  std::atomic<int> interruptions{0};              // so many calls fail with EINTR first
  std::atomic<bool> writes_do_nothing{false};     // writes answer 0
  std::atomic<bool> syncs_do_nothing{false};      // nor take time
  // Of all calls, and of the reads and writes among them, counted from 1; 0: none.
  std::atomic<std::size_t> interrupted_call{0};  // fails with EINTR
  std::atomic<std::size_t> short_transfer{0};    // moves half of its bytes
  // Errno of each such call, 0: none.
  std::atomic<int> read_error{0};
  std::atomic<int> quick_read_error{0};  // of preadv2()
  std::atomic<int> write_error{0};
  std::atomic<int> sync_error{0};
  std::atomic<int> allocate_error{0};
  std::atomic<int> seek_error{0};
  std::atomic<int> lock_error{0};
  // Calls so far.
  std::atomic<std::size_t> calls{0};
  std::atomic<std::size_t> transfers{0};
  std::atomic<int> reads{0};
  std::atomic<int> quick_reads{0};
  std::atomic<int> writes{0};
  std::atomic<int> allocations{0};
  std::atomic<int> started_writes{0};
  std::atomic<unsigned> start_flags{0};  // of the last sync_file_range()
};

Plan& plan() noexcept;

// Everything as the system does it, all counts 0.
void reset() noexcept;

// Keeps a plan from reaching the next test.
class Guard {
 public:
  Guard() noexcept { reset(); }

  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  ~Guard() { reset(); }
};

}  // namespace vmdk::system_calls
