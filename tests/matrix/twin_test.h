// One job, done twice: on a plain raw file and on ours. What it says, how it ends and what is on
// the disk afterwards has to be the same.
#pragma once

#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {

// Two folders, "plain" and "ours", with a file of the same name in each. Jobs are shell commands
// that run in a folder, so that they need no path; beside the folders are `content` (as long as the
// disk) and `tree` (files to be copied), if the test made them.
class TwinTest : public MountTest {
 protected:
  // Runs `job` on the plain file and on ours. Empty when it ended with 0 on both. On ours alone it
  // may not fail; when it fails on both, returns why, so that the test can be skipped.
  std::string works(const std::string& job);

  // The same, and the job prints the same on both. Paths of the folders are taken out of the
  // outputs before they are compared.
  std::string agrees(const std::string& job);

  // Expects that the file `name` is the same in both folders.
  void same_bytes(const std::string& name);

  // Makes ../content: stretches of random bytes and of nothing, the same at each run.
  void make_content(std::uint64_t size) const;
  // Makes ../tree, of about 5 MiB.
  void make_tree() const;

  // What our file is called where a program resolves links.
  std::string own_name_ = "ours/disk";
  std::string name_ = "disk";

 private:
  struct Ends {
    CommandResult plain;
    CommandResult ours;
  };

  Ends run_on_both(const std::string& job) const;
  std::string judge(const std::string& job, const Ends& ends) const;
  std::string without_paths(std::string text) const;
};

// Functions for jobs, in the shell's language.
//   listing FOLDER          names and digests of all its files
//   serve_fs FOLDER CMD...  starts a FUSE file system in the foreground; it has to appear in 10 s
//   end_fs FOLDER           unmounts it; the status is the program's, which has written everything
//   on_loop OPTION... FILE  attaches "$loop"; it goes, and FOLDER fs is unmounted, when the job
//   ends
std::string with_functions(const std::string& job);

}  // namespace vmdkfuse::test

// In a test: goes on only when the job ended with 0 on both. What fails on a plain file, too, is
// the machine's or the tool's affair, and skips the rest.
#define WORKS(job)                                      \
  if (const std::string why = works(job); !why.empty()) \
    GTEST_SKIP() << why;                                \
  if (HasFailure())                                     \
  return

#define AGREES(job)                                      \
  if (const std::string why = agrees(job); !why.empty()) \
    GTEST_SKIP() << why;                                 \
  if (HasFailure())                                      \
  return
