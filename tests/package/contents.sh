#!/bin/bash
# The packages hold what they should and nothing else. Usage: contents.sh FOLDER_WITH_PACKAGES SOURCE_ROOT
set -euo pipefail

command -v dpkg-shlibdeps >/dev/null || {
  echo 'dpkg-dev is not installed, so there are no packages'
  exit 77
}
headers=$(realpath "$2")/include/vmdk
cd "$1"
failed=0

# expect WHAT FOUND EXPECTED
expect() {
  if [ "$2" != "$3" ]; then
    printf '%s:\n' "$1"
    diff <(printf '%s\n' "$3") <(printf '%s\n' "$2") || true
    failed=1
  fi
}

files_of() {
  dpkg-deb -c "$1" | awk '$1 !~ /^d/ { print $6 }' | sed "s|/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/|/lib/ARCH/|" |
    LC_ALL=C sort
}

program=$(echo vmdkfuse_*.deb)
library=$(echo libvmdkfuse-dev_*.deb)
expect "$program" "$(files_of "$program" | grep -v '/doc/vmdkfuse/.*\.\(md\|svg\)$')" './usr/bin/vmdkctl
./usr/bin/vmdkfuse
./usr/lib/systemd/system/vmdkfuse@.service
./usr/lib/systemd/user/vmdkfuse@.service
./usr/share/bash-completion/completions/vmdkctl
./usr/share/bash-completion/completions/vmdkfuse
./usr/share/doc/vmdkfuse/changelog.gz
./usr/share/doc/vmdkfuse/copyright
./usr/share/fish/vendor_completions.d/vmdkctl.fish
./usr/share/fish/vendor_completions.d/vmdkfuse.fish
./usr/share/man/man1/vmdkctl.1.gz
./usr/share/man/man1/vmdkfuse.1.gz
./usr/share/man/man7/vmdk-formats.7.gz
./usr/share/zsh/vendor-completions/_vmdkctl
./usr/share/zsh/vendor-completions/_vmdkfuse'
expect "$library" "$(files_of "$library" | grep -v '/include/vmdk/')" './usr/lib/ARCH/libvmdkfuse.a
./usr/lib/ARCH/pkgconfig/vmdkfuse.pc
./usr/share/doc/libvmdkfuse-dev/changelog.gz
./usr/share/doc/libvmdkfuse-dev/copyright
./usr/share/doc/libvmdkfuse-dev/example.cc'
expect "$library, headers" "$(files_of "$library" | sed -n 's|^\./usr/include/vmdk/||p')" \
  "$(cd "$headers" && printf '%s\n' *.h | LC_ALL=C sort)"
expect 'owners' "$(for each in "$program" "$library"; do dpkg-deb -c "$each"; done | awk '{ print $2 }' | sort -u)" root/root

# The packages that the programs need are those that have the libraries that they load.
needed=$(dpkg-deb -f "$program" Depends)
tree=$(mktemp -d "${TMPDIR:-/tmp}/vmdkfuse-contents.XXXXXX")
trap 'rm -rf "$tree"' EXIT
dpkg-deb -x "$program" "$tree"
known=$(ldconfig -p)
checked=0
while read -r name; do
  file=$(awk -v name="$name" '$1 == name && !found { found = $NF } END { print found }' <<<"$known")
  checked=$((checked + 1))
  # The same file has two names where /lib is a link.
  owner=$(dpkg -S "$file" 2>/dev/null || dpkg -S "${file#/usr}" 2>/dev/null || dpkg -S "/usr$file")
  owner=${owner%%:*}
  # By its name, or by one that it has besides.
  found=no
  for alias in "$owner" $(dpkg-query -W -f '${Provides}' "$owner" | tr ',' '\n' | awk '{ print $1 }'); do
    case ", $needed," in
      *", $alias "* | *", $alias,"*) found=yes ;;
    esac
  done
  if [ "$found" = no ]; then
    echo "$program: Depends lacks $owner, which has $file"
    failed=1
  fi
done < <(objdump -p "$tree"/usr/bin/* | awk '$1 == "NEEDED" { print $2 }' | sort -u)
if [ "$checked" -lt 5 ]; then
  echo "$program: only $checked libraries were looked at"
  failed=1
fi
case ", $needed," in
  *', fuse3,'*) ;;
  *)
    echo "$program: Depends lacks fuse3: $needed"
    failed=1
    ;;
esac
grep -q '^ExecStart=/usr/bin/vmdkfuse ' "$tree/usr/lib/systemd/system/vmdkfuse@.service" || {
  echo "$program: the unit starts another program"
  failed=1
}
exit "$failed"
