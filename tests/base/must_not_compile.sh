#!/bin/sh
# usage: must_not_compile.sh SOURCE INCLUDE_DIR COMPILER...
# SOURCE compiles with no case chosen, and for each case it names (`#ifdef CASE_...`) compiling it
# fails because of an ignored value, not for another reason.
set -u
source=$1
include=$2
shift 2

try() {
  "$@" -std=c++20 -fsyntax-only -Werror=unused-result "-I$include" "$source" 2>&1
}

if ! output=$(try "$@"); then
  echo "FAIL: $source does not compile even without a case:"
  echo "$output"
  exit 1
fi

failures=0
cases=$(sed -n 's/^#ifdef \(CASE_[A-Z_]*\)$/\1/p' "$source")
if [ -z "$cases" ]; then
  echo "FAIL: $source names no case"
  exit 1
fi
for name in $cases; do
  if output=$(try "$@" "-D$name"); then
    echo "FAIL: $name compiles"
    failures=1
  elif ! echo "$output" | grep -q 'error:.*nodiscard'; then
    echo "FAIL: $name does not compile, but not for the ignored value:"
    echo "$output"
    failures=1
  else
    echo "ok: $name is refused"
  fi
done
exit $failures
