# Installs Debian packages that are missing. Sourced by tools/quickstart and tools/test.
# shellcheck shell=bash

# What a build needs, tests aside.
# shellcheck disable=SC2034
readonly BUILD_PACKAGES=(g++ meson ninja-build pkg-config libfuse3-dev fuse3
  libboost-program-options-dev libexpected-dev libfmt-dev libdeflate-dev libspdlog-dev
  nlohmann-json3-dev libblkid-dev)

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = 'ii ' ]
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

# Whether the distribution has the package. The answer is read whole: a reader that stops at the
# first match can break the pipe, which "pipefail" takes for "no".
has_candidate() {
  local policy
  policy=$(apt-cache policy "$1" 2>/dev/null) || return 1
  [[ $policy =~ Candidate:\ [^\(] ]]
}

# install_missing PROGRAM PACKAGE...: says what it does; installs nothing that is there. Packages
# that begin with "?" may be unknown to the distribution.
install_missing() {
  local program=$1 package
  local -a missing=() optional=()
  shift
  for package in "$@"; do
    if ! is_installed "${package#\?}"; then
      case $package in
        \?*) optional+=("${package#\?}") ;;
        *) missing+=("$package") ;;
      esac
    fi
  done
  if [ ${#missing[@]} -eq 0 ] && [ ${#optional[@]} -eq 0 ]; then
    return 0
  fi
  if ! command -v apt-get >/dev/null; then
    echo "$program: this system has no apt-get: install these by hand: ${missing[*]} ${optional[*]}" >&2
    return 1
  fi
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "$program: packages are missing, and installing them needs root; run as root:" >&2
    echo "    apt-get install --no-install-recommends ${missing[*]} ${optional[*]}" >&2
    return 1
  fi
  echo "$program: apt-get update"
  as_root apt-get -qq update
  for package in "${optional[@]}"; do
    if has_candidate "$package"; then
      missing+=("$package")
    else
      echo "$program: $package is not in this distribution; going on without it"
    fi
  done
  if [ ${#missing[@]} -eq 0 ]; then
    return 0
  fi
  echo "$program: apt-get install ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
}
