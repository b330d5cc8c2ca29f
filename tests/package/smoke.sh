#!/bin/bash
# What an installed vmdkfuse has to do. For root, on a system that may be thrown away: it writes
# /etc/fstab. Usage: smoke.sh
set -euo pipefail

readonly folder=/srv/vmdkfuse-smoke
readonly nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

fail() {
  echo "smoke: $*" >&2
  exit 1
}

# same WHAT FOUND EXPECTED
same() {
  [ "$2" = "$3" ] || fail "$1: found \"$2\", not \"$3\""
  echo "ok: $1"
}

clean_up() {
  local disk
  for disk in "$folder"/*; do
    if mountpoint -q "$disk" 2>/dev/null || grep -q " $disk fuse" /proc/self/mounts; then
      vmdkfuse -u "$disk" || umount -l "$disk"
    fi
  done
  rm -rf "$folder"
}

sum() {
  sha256sum "$@" | cut -d ' ' -f 1
}

files_are_there() {
  local file version
  version=$(dpkg-query -W -f '${Version}' vmdkfuse)
  same 'version of vmdkctl' "$(vmdkctl --version)" "vmdkctl $version"
  same 'version of vmdkfuse' "$(vmdkfuse --version | head -n 1)" "vmdkfuse: $version"
  # Systems without documentation leave the manual out when they install.
  if ! grep -qs '^path-exclude.*/man/' /etc/dpkg/dpkg.cfg.d/*; then
    for file in man1/vmdkfuse.1 man1/vmdkctl.1 man7/vmdk-formats.7; do
      gzip -dc "/usr/share/man/$file.gz" | grep -q '^\.Sh NAME' || fail "no manual $file"
    done
    echo 'ok: manual'
  fi
  same 'completion' "$(bash -c '. /usr/share/bash-completion/completions/vmdkctl
    COMP_WORDS=(vmdkctl conv) COMP_CWORD=1; _vmdkctl; echo "${COMPREPLY[*]}"')" convert
}

write_and_read() {
  vmdkctl create disk.vmdk 64M
  touch flat
  vmdkfuse disk.vmdk flat
  same 'size of the flat file' "$(stat -c %s flat)" 67108864
  head -c 5000000 /dev/urandom >data
  dd if=data of=flat bs=64K seek=100 conv=notrunc,fsync status=none
  same '--list' "$(vmdkfuse --list | grep -c "$folder/flat")" 1
  vmdkfuse -u flat
  vmdkctl check disk.vmdk
  vmdkfuse -r disk.vmdk flat
  dd if=flat bs=64K skip=100 iflag=count_bytes count=5000000 of=back status=none
  vmdkfuse -u flat
  same 'what was written' "$(sum back)" "$(sum data)"
  same 'the same without a mount' "$(vmdkctl cat --offset=6400K --length=5000000 disk.vmdk | sum)" \
    "$(sum data)"
}

by_mount() {
  mount -t fuse.vmdkfuse "$folder/disk.vmdk" "$folder/flat"
  same 'type in the table of mounts' "$(findmnt -no FSTYPE "$folder/flat")" fuse.vmdkfuse
  same 'source in the table of mounts' "$(findmnt -no SOURCE "$folder/flat")" "$folder/disk.vmdk"
  vmdkfuse -u flat
  local status=0
  mount -t fuse.vmdkfuse "$folder/none.vmdk" "$folder/flat" 2>refusal || status=$?
  same 'status of a mount that fails' "$status" 32
  grep -q 'none.vmdk' refusal || fail "the refusal does not come through: $(cat refusal)"
}

by_fstab() {
  mkdir users
  vmdkctl create users/users.vmdk 8M
  touch users/flat
  chown -R 65534:65534 users
  cat >>/etc/fstab <<END
$folder/disk.vmdk $folder/flat fuse.vmdkfuse ro,allow_other,nofail,noauto,_netdev,x-systemd.automount,x-systemd.requires-mounts-for=/srv 0 0
$folder/users/users.vmdk $folder/users/flat fuse.vmdkfuse rw,user,noauto,nofail,cache=writethrough 0 0
END
  mount "$folder/flat"
  same 'ro of fstab' "$(findmnt -no OPTIONS "$folder/flat" | cut -d , -f 1)" ro
  vmdkfuse -u flat
  "${nobody[@]}" mount "$folder/users/flat"
  "${nobody[@]}" sh -c "echo Hello | dd of=$folder/users/flat conv=notrunc,fsync status=none"
  same 'user and nodev of fstab' "$(findmnt -no OPTIONS "$folder/users/flat" | grep -c "nodev.*user_id=65534")" 1
  "${nobody[@]}" vmdkfuse -u "$folder/users/flat"
  # Its end was waited for, though nobody has no session.
  vmdkctl check users/users.vmdk
  same "the user's bytes" "$(vmdkctl cat --length=5 users/users.vmdk | cat)" Hello
}

by_daemon_that_died() {
  vmdkfuse --pid-file=pid disk.vmdk flat
  kill -9 "$(cat pid)"
  # The mount answers for a moment until the kernel has taken the daemon's end in.
  local tries=50
  while stat flat >/dev/null 2>&1 && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
  local status=0
  vmdkfuse disk.vmdk flat 2>refusal || status=$?
  same 'status over a dead mount' "$status" 32
  grep -q 'replace-stale' refusal || fail "no way out: $(cat refusal)"
  vmdkfuse --replace-stale disk.vmdk flat
  vmdkfuse -u flat
  vmdkctl check disk.vmdk
}

trap clean_up EXIT
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
# fusermount3 reads it for an ordinary user's mount; a system made by debootstrap alone lacks it.
[ -e /etc/mtab ] || ln -s /proc/self/mounts /etc/mtab
files_are_there
write_and_read
by_mount
by_fstab
by_daemon_that_died
echo 'smoke: all is well'
