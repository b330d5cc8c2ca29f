#include "vmdkfuse/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;
using vmdk::Status;

// An entry of the system's lists of users and groups as a copy, with the memory its strings lie in.
template <class Entry>
class Listed {
 public:
  // `look_up` is one of getpwnam_r() and its like, less its last three arguments.
  template <class LookUp>
  explicit Listed(LookUp look_up) {
    int error = 0;
    do {
      memory_.resize(memory_.size() * 2);
      error = look_up(&entry_, memory_.data(), memory_.size(), &found_);
    } while (error == ERANGE && memory_.size() < kMostMemory);
  }

  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;

  explicit operator bool() const noexcept { return found_ != nullptr; }

  const Entry* operator->() const noexcept { return found_; }

 private:
  static constexpr std::size_t kMostMemory = std::size_t{1} << 24U;

  std::vector<char> memory_ = std::vector<char>(1024);
  Entry entry_{};
  Entry* found_ = nullptr;
};

Error unknown(std::string_view name, std::string_view what) {
  return Error::make(ErrorCode::kInvalidArgument,
                     fmt::format("\"{}\" is no {} of this system", name, what));
}

// The highest number means "no change" to the system.
std::optional<std::uint32_t> number_of(std::string_view text) noexcept {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == UINT32_MAX)
    return std::nullopt;
  return value;
}

Result<gid_t> find_group(const std::string& name) {
  const Listed<group> listed([&](auto... rest) { return getgrnam_r(name.c_str(), rest...); });
  if (listed)
    return listed->gr_gid;
  if (const auto number = number_of(name))
    return *number;
  return unknown(name, "group");
}

std::vector<gid_t> groups_of(const passwd& user) {
  int count = 16;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  while (getgrouplist(user.pw_name, user.pw_gid, groups.data(), &count) < 0)
    groups.resize(static_cast<std::size_t>(count));
  groups.resize(static_cast<std::size_t>(count));
  return groups;
}

// The user alone; no groups where the system does not know any.
Result<Account> find_user(const std::string& name) {
  const auto account_of = [&](const Listed<passwd>& listed) {
    return Account{name, listed->pw_uid, listed->pw_gid, groups_of(*listed.operator->())};
  };
  const Listed<passwd> by_name([&](auto... rest) { return getpwnam_r(name.c_str(), rest...); });
  if (by_name)
    return account_of(by_name);
  const auto number = number_of(name);
  if (!number)
    return unknown(name, "user");
  const Listed<passwd> by_number([&](auto... rest) { return getpwuid_r(*number, rest...); });
  if (by_number)
    return account_of(by_number);
  return Account{name, *number, 0, {}};
}

Status failed(std::string_view what) {
  return Error::from_errno(errno, what);
}

struct Capabilities {
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> words{};

  bool empty() const noexcept {
    std::uint32_t any = 0;
    for (const auto& word : words)
      any |= word.effective | word.permitted | word.inheritable;
    return any == 0;
  }
};

// The C library has no functions for these two.

Result<Capabilities> own_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  Capabilities result;
  if (syscall(SYS_capget, &header, result.words.data()) != 0)
    return Error::from_errno(errno, "capget");
  return result;
}

Status set_capabilities(const Capabilities& wanted) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  if (syscall(SYS_capset, &header, wanted.words.data()) != 0)
    return failed("capset");
  return {};
}

bool contains(std::span<const int> list, int each) noexcept {
  for (const int one : list) {
    if (one == each)
      return true;
  }
  return false;
}

// What a program that is started could get. Who may not take that away (in a container, say)
// relies on forbid_new_privileges().
void bound_capabilities(std::span<const int> kept) noexcept {
  for (int each = 0; prctl(PR_CAPBSET_READ, each, 0, 0, 0) >= 0; ++each) {
    if (!contains(kept, each))
      prctl(PR_CAPBSET_DROP, each, 0, 0, 0);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

// Neither the ids nor the capabilities of root are left, nor a call that gives them back.
Status require_no_way_back(const Account& account) {
  std::array<uid_t, 3> users{};
  std::array<gid_t, 3> groups{};
  if (getresuid(&users[0], &users[1], &users[2]) != 0 ||
      getresgid(&groups[0], &groups[1], &groups[2]) != 0)
    return failed("getresuid");
  ASSIGN_OR_RETURN(const Capabilities left, own_capabilities());
  const std::array<uid_t, 3> all_user{account.uid, account.uid, account.uid};
  const std::array<gid_t, 3> all_group{account.gid, account.gid, account.gid};
  if (users != all_user || groups != all_group || !left.empty() || setuid(0) == 0 ||
      seteuid(0) == 0)
    return Error::make(ErrorCode::kIo,
                       fmt::format("{}: root's rights cannot be given up", account.name));
  return {};
}

}  // namespace

Result<Account> find_account(std::string_view user_and_group) {
  const std::size_t colon = user_and_group.find(':');
  const std::string user(user_and_group.substr(0, colon));
  ASSIGN_OR_RETURN(Account account, find_user(user));
  if (account.uid == 0)
    return Error::make(ErrorCode::kInvalidArgument,
                       fmt::format("\"{}\" is root, whose rights are to be given up", user));
  if (colon != std::string_view::npos) {
    ASSIGN_OR_RETURN(account.gid, find_group(std::string(user_and_group.substr(colon + 1))));
    account.groups = {account.gid};
  }
  if (account.groups.empty())
    return Error::make(
        ErrorCode::kInvalidArgument,
        fmt::format("user {} is in no list, so its group has to be named: {}:GROUP", user, user));
  return account;
}

Status become(const Account& account) {
  bound_capabilities({});
  if (setgroups(account.groups.size(), account.groups.data()) != 0)
    return failed(fmt::format("{}: setgroups", account.name));
  if (setresgid(account.gid, account.gid, account.gid) != 0)
    return failed(fmt::format("{}: setresgid", account.name));
  if (setresuid(account.uid, account.uid, account.uid) != 0)
    return failed(fmt::format("{}: setresuid", account.name));
  RETURN_IF_ERROR(set_capabilities({}));
  RETURN_IF_ERROR(forbid_new_privileges());
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
    return failed("PR_SET_DUMPABLE");
  return require_no_way_back(account);
}

Status forbid_new_privileges() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return failed("PR_SET_NO_NEW_PRIVS");
  return {};
}

bool has_capability(int capability) noexcept {
  const auto own = own_capabilities();
  return own && (own->words[static_cast<std::size_t>(CAP_TO_INDEX(capability))].effective &
                 CAP_TO_MASK(capability)) != 0;
}

Status keep_capabilities(std::span<const int> kept) {
  bound_capabilities(kept);
  ASSIGN_OR_RETURN(Capabilities wanted, own_capabilities());
  for (std::size_t i = 0; i < wanted.words.size(); ++i) {
    std::uint32_t mask = 0;
    for (const int each : kept) {
      if (static_cast<std::size_t>(CAP_TO_INDEX(each)) == i)
        mask |= CAP_TO_MASK(each);
    }
    wanted.words[i].effective &= mask;
    wanted.words[i].permitted &= mask;
    wanted.words[i].inheritable = 0;
  }
  return set_capabilities(wanted);
}

}  // namespace vmdkfuse
