#!/bin/bash
# Installs packages on a copy of this system that is thrown away, and tries them there.
# Usage: in_overlay.sh FOLDER_WITH_PACKAGES
# The copy is an overlay over "/", kept in memory; 77 says that this system cannot make one.
set -euo pipefail

packages=$(realpath "$1")
command -v dpkg-shlibdeps >/dev/null || {
  echo 'dpkg-dev is not installed, so there are no packages'
  exit 77
}
here=$(dirname "$(realpath "$0")")

skip() {
  echo "$*"
  exit 77
}

# In a mount and process namespace of its own, which takes with it what the tests leave.
if [ -z "${VMDKFUSE_IN_NAMESPACE:-}" ]; then
  [ "$(id -u)" -eq 0 ] || skip 'installing a package needs root'
  [ -w /dev/fuse ] || skip '/dev/fuse is not there'
  unshare --mount --pid --fork --kill-child true 2>/dev/null || skip 'namespaces are not to be had'
  VMDKFUSE_IN_NAMESPACE=1 exec unshare --mount --pid --fork --kill-child "$0" "$@"
fi

mount --make-rprivate /
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkfuse-root.XXXXXX")
trap 'umount -R -l "$work" 2>/dev/null; rmdir "$work"' EXIT
mount -t tmpfs -o size=1g tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" overlay "$work/root" ||
  skip 'this system cannot lay a file system over its root'
for folder in /dev /sys; do
  mount --rbind "$folder" "$work/root$folder"
done
mount -t proc proc "$work/root/proc"
# What the host put aside for its own mounts is not seen; /run and /tmp are new.
for folder in /tmp /run; do
  mount -t tmpfs tmpfs "$work/root$folder"
done
chmod 1777 "$work/root/tmp"
mkdir "$work/root/tmp/packages"
cp "$packages"/*.deb "$here/smoke.sh" "$work/root/tmp/packages"
# --no-triggers: the list of all manuals is not what is tried.
timeout 200 chroot "$work/root" sh -c 'dpkg --no-triggers -i /tmp/packages/vmdkfuse_*.deb'
timeout 200 chroot "$work/root" /tmp/packages/smoke.sh
timeout 200 chroot "$work/root" dpkg --no-triggers -r vmdkfuse
left=$(find "$work/root/usr" -name '*vmdkfuse*' -o -name '*vmdkctl*')
[ -z "$left" ] || {
  echo "not removed with the package: $left" >&2
  exit 1
}
