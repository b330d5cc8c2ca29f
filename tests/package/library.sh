#!/bin/bash
# A program of somebody else is built with the library as it is installed, and works.
# Usage: library.sh FOLDER_WITH_PACKAGES EXAMPLE.cc VMDKCTL
set -euo pipefail

command -v dpkg-shlibdeps >/dev/null || {
  echo 'dpkg-dev is not installed, so there are no packages'
  exit 77
}
packages=$(realpath "$1")
example=$(realpath "$2")
vmdkctl=$(realpath "$3")
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkfuse-library.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

dpkg-deb -x "$packages"/libvmdkfuse-dev_*.deb root
PKG_CONFIG_PATH=$(echo root/usr/lib/*/pkgconfig)
export PKG_CONFIG_PATH
# The package's own paths are those of the system that it will be on.
read -ra flags < <(pkg-config --define-variable=prefix="$work/root/usr" --cflags --libs vmdkfuse)
c++ -std=c++20 -Wall -Wextra -Werror "$example" "${flags[@]}" -o example

"$vmdkctl" create base.vmdk 1M
before=$(sha256sum <base.vmdk)
./example base.vmdk snapshot.vmdk >out
cat out
grep -qx '1048576 bytes, .* in use' out
grep -qx 'layer .*base.vmdk, monolithicSparse' out
[ "$(sha256sum <base.vmdk)" = "$before" ]
[ "$("$vmdkctl" cat --length=13 snapshot.vmdk | cat)" = 'Hello, disk.' ]
"$vmdkctl" check snapshot.vmdk

# An error comes back as one.
status=0
./example none.vmdk other.vmdk 2>err || status=$?
[ "$status" -eq 2 ]
grep -q '^example: .*none.vmdk' err
