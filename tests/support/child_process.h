// Work done in a process of its own, because it cannot be undone.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <string>

namespace vmdk::test {

// Runs `body`, which returns a text, in a child and returns that text. A child that ends in another
// way is told of in the text. Expectations inside `body` reach nobody.
template <class Body>
std::string in_child_process(Body body) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0)
    return "pipe failed";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text;
    try {
      text = body();
    } catch (const std::exception& error) {
      text = std::string("exception: ") + error.what();
    }
    [[maybe_unused]] const ssize_t ignored = ::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 4096> part{};
  for (ssize_t got = 0; (got = ::read(ends[0], part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = -1;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0)
    text += " (wait status " + std::to_string(status) + ")";
  return text;
}

}  // namespace vmdk::test
