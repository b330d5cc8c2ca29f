#!/bin/bash
# Checks that every #include stays within the layers that its folder may use (docs/design.md).
# Usage: check_layers.sh SOURCE_ROOT
set -eu

root=${1:?usage: check_layers.sh SOURCE_ROOT}
cd "$root"

# For each folder: the project's headers and then the foreign ones that it may include, both as
# extended regular expressions over what stands between the quotes or brackets. C++ standard headers
# (no dot, no slash) are free to all.
readonly BASE='base/[a-z0-9_]+\.h'
readonly SEAM='vmdk/(result|units|io|progress)\.h'
readonly C_LANGUAGE='(errno|stdint|string)\.h'
readonly LIBRARIES='(fmt|tl)/.*'
readonly POSIX='[a-z0-9_]+\.h|(sys|linux)/[a-z0-9_]+\.h'

# allowed FOLDER: prints the expression of what it may include.
allowed() {
  case $1 in
    include/vmdk) echo "vmdk/.*|tl/expected\.hpp|sys/uio\.h" ;;
    src/base) echo "$BASE|vmdk/(result|units)\.h|$LIBRARIES|$C_LANGUAGE|sys/(ioctl|uio)\.h" ;;
    src/io) echo "$BASE|io/.*|$SEAM|vmdk/posix\.h|$LIBRARIES|$POSIX" ;;
    src/format) echo "$BASE|format/.*|vmdk/(result|units)\.h|iconv\.h|libdeflate\.h|$LIBRARIES" ;;
    src/extent) echo "$BASE|format/.*|extent/.*|$SEAM|vmdk/disk\.h|libdeflate\.h|$LIBRARIES|sys/uio\.h" ;;
    src/disk) echo "$BASE|format/.*|extent/.*|disk/.*|vmdk/.*|$LIBRARIES|sys/uio\.h" ;;
    src/fuse) echo "$BASE|fuse/.*|vmdk/(disk|partitions|result|units|progress)\.h|fuse_lowlevel\.h|fuse3/.*|$LIBRARIES|$POSIX" ;;
    src/vmdkfuse) echo "$BASE|vmdkfuse/.*|fuse/.*|io/(posix_file_system|standard_streams|unique_fd)\.h|vmdk/.*|boost/.*|spdlog/.*|nlohmann/.*|$LIBRARIES|$POSIX" ;;
    tools/vmdkctl) echo "$BASE|vmdkctl/.*|io/(posix_file_system|standard_streams|unique_fd)\.h|vmdk/.*|blkid/blkid\.h|boost/.*|nlohmann/.*|$LIBRARIES|$POSIX" ;;
  esac
}

violations=0
checked=0

report() {
  echo "$1"
  violations=$((violations + 1))
}

for folder in include/vmdk src/*/ tools/vmdkctl; do
  folder=${folder%/}
  rule=$(allowed "$folder")
  if [ -z "$rule" ]; then
    report "$folder: no rule says what this folder may include: add it to tests/check_layers.sh"
    continue
  fi
  while IFS=: read -r file line header; do
    checked=$((checked + 1))
    if ! printf '%s\n' "$header" | grep -Eqx "$rule"; then
      report "$file:$line: <$header> is not for $folder"
    fi
    # libfuse is known to one folder only, whatever the rules above say.
    case $folder:$header in
      src/fuse:*) ;;
      *:*fuse_lowlevel.h | *:fuse3/* | *:fuse.h)
        report "$file:$line: <$header> is for src/fuse alone" ;;
    esac
  done < <(find "$folder" -maxdepth 1 -name '*.h' -o -maxdepth 1 -name '*.cc' | sort |
    xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' |
    sed -E 's/^([^:]+):([0-9]+):[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"].*/\1:\2:\3/' |
    grep -vE ':[a-z0-9_]+$')
done

if [ "$checked" -eq 0 ]; then
  echo "no #include found below $root: the check checks nothing"
  exit 1
fi
echo "$checked includes checked, $violations not allowed"
[ "$violations" -eq 0 ]
