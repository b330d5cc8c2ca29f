#!/bin/sh
# Makes the packages beside the stamp; none where the tools of Debian are not there.
# Usage: make_packages.sh SOURCE_ROOT STAMP
set -eu

folder=$(dirname "$2")/packages
mkdir -p "$folder"
rm -f "$folder"/*.deb
if command -v dpkg-shlibdeps >/dev/null; then
  "$1/tools/package" --no-install --output="$(realpath "$folder")"
fi
touch "$2"
