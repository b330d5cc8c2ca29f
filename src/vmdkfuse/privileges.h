// Giving up rights for good: those of root for those of a user, and what a root that stays root
// does not need. Nothing here can be undone by the process or by what it starts. The system keeps
// most of it for each thread: call these while there is one.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/result.h>

namespace vmdkfuse {

// A user as whom a process may run.
struct Account {
  std::string name;  // as it was given, for messages
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // all that count, gid among them
};

// "NAME" with the groups that the system's lists give it, or "NAME:GROUP" with that group alone;
// names or numbers. kInvalidArgument for what the system does not know and for root.
vmdk::Result<Account> find_account(std::string_view user_and_group);

// From root to `account`, with no capability and no way back, which is tried. Other processes of
// that user can neither trace this one nor read its memory, and it leaves no core file. After an
// error the process may have lost a part of its rights and must end.
vmdk::Status become(const Account& account);

// No program that is started gains rights by its mode or its file's capabilities.
vmdk::Status forbid_new_privileges();

// Whether this thread may use `capability` (CAP_…) now; false when the system does not say.
bool has_capability(int capability) noexcept;

// Gives up all capabilities but `kept` (CAP_…), of which those that are held stay.
vmdk::Status keep_capabilities(std::span<const int> kept);

}  // namespace vmdkfuse
