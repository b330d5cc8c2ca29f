#include "matrix/twin_test.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <random>
#include <vector>

namespace vmdkfuse::test {
namespace {

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace

TwinTest::Ends TwinTest::run_on_both(const std::string& job) const {
  const auto run = [&](const std::string& folder) {
    return run_command("cd " + word(folder) + " || exit 99\n" + with_functions(job),
                       std::chrono::seconds(soak() ? 300 : 60));
  };
  return {run("plain"), run("ours")};
}

std::string TwinTest::judge(const std::string& job, const Ends& ends) const {
  const auto texts = [&] {
    return job + "\n=== on a plain file: " + ends.plain.to_text() +
           "\n=== on ours: " + ends.ours.to_text();
  };
  EXPECT_FALSE(ends.plain.timed_out) << texts();
  EXPECT_FALSE(ends.ours.timed_out) << texts();
  EXPECT_EQ(ends.plain.status, ends.ours.status) << texts();
  if (ends.plain.status == 0)
    return "";
  return "fails on a plain file, too: " + job + ": status " + std::to_string(ends.plain.status) +
         ": " + ends.plain.err;
}

std::string TwinTest::works(const std::string& job) {
  return judge(job, run_on_both(job));
}

std::string TwinTest::agrees(const std::string& job) {
  const Ends ends = run_on_both(job);
  std::string why = judge(job, ends);
  EXPECT_EQ(without_paths(ends.plain.out), without_paths(ends.ours.out)) << job;
  EXPECT_EQ(without_paths(ends.plain.err), without_paths(ends.ours.err)) << job;
  return why;
}

std::string TwinTest::without_paths(std::string text) const {
  replace_all(text, path(own_name_).string(), name_);
  for (const char* folder : {"plain", "ours"})
    replace_all(text, path(folder).string() + "/", "");
  return text;
}

void TwinTest::same_bytes(const std::string& name) {
  EXPECT_TRUE(shell("cmp plain/" + name + " ours/" + name));
}

void TwinTest::make_content(std::uint64_t size) const {
  constexpr std::uint64_t kPiece = 1 * vmdk::kMiB;
  std::ofstream file(path("content"), std::ios::binary);
  std::mt19937_64 random(20251126);
  std::vector<std::uint64_t> words(kPiece / sizeof(std::uint64_t));
  // Every fourth piece has something, at places and of lengths that are no multiples of a sector.
  for (std::uint64_t at = 0; at + kPiece <= size; at += 4 * kPiece) {
    std::generate(words.begin(), words.end(), std::ref(random));
    file.seekp(static_cast<std::streamoff>(at + random() % 5000));
    file.write(reinterpret_cast<const char*>(words.data()),
               static_cast<std::streamsize>(kPiece - 5000 - random() % 5000));
  }
  file.close();
  std::filesystem::resize_file(path("content"), size);
}

void TwinTest::make_tree() const {
  ASSERT_TRUE(
      shell("mkdir -p tree/sub/sub && ln -s ../big tree/sub/link && "
            "dd if=/dev/urandom of=tree/big bs=1M count=4 status=none && "
            "for i in $(seq 40); do dd if=/dev/urandom of=tree/sub/$i bs=797 count=$i status=none;"
            " done && cp tree/sub/1* tree/sub/sub/ && find tree -depth -exec touch -h -a -d '+1 "
            "hour' {} +"));
}

std::string with_functions(const std::string& job) {
  return R"(
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
listing() {
  (cd "$1" && find . -type f | sort | tr '\n' '\0' | xargs -0 sha256sum)
}
serve_fs() {
  fs_folder=$1
  shift
  mkdir -p "$fs_folder"
  "$@" >&2 &
  fs_server=$!
  trap 'umount -l "$fs_folder" 2>/dev/null; wait' EXIT
  for try in $(seq 200); do
    mountpoint -q "$fs_folder" && return 0
    kill -0 $fs_server 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}
end_fs() {
  umount "$1" && wait $fs_server
}
on_loop() {
  loop=$(losetup -f --show "$@") || return 1
  trap 'mountpoint -q fs && umount fs; losetup -d "$loop"' EXIT
  mkdir -p fs
}
)" + job;
}

}  // namespace vmdkfuse::test
