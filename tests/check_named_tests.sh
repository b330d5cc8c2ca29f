#!/bin/bash
# Checks that every test that a document names exists: `Suite.Name`, in C++ or Python, and rows of the
# tables in tests/hostile. Usage: check_named_tests.sh SOURCE_ROOT DOCUMENT...
set -eu

root=${1:?usage: check_named_tests.sh SOURCE_ROOT DOCUMENT...}
shift
cd "$root"

# shellcheck disable=SC2016
readonly NAMED='`([A-Z][A-Za-z0-9]*Test\.[A-Za-z0-9_]+|B[0-9]+[a-z]?_[A-Za-z0-9_]+|(line|image)_[a-z0-9_]+)`'

missing=0
checked=0

# is_test SUITE NAME: of GoogleTest, or a class and a method of Python.
is_test() {
  tr '\n' ' ' <"$tests" | grep -Eq "TEST(_F|_P)?\($1, +$2\)" ||
    grep -rlZE --include='*_test.py' "^class $1\(" tests | xargs -0r grep -qE "^ +def $2\("
}

is_row() {
  grep -qF "\"$1\"" tests/hostile/*.cc
}

tests=$(mktemp "${TMPDIR:-/tmp}/vmdkfuse-named-tests.XXXXXX")
trap 'rm -f "$tests"' EXIT
find tests -name '*_test.cc' -exec cat {} + >"$tests"

for document in "$@"; do
  before=$checked
  while read -r name; do
    checked=$((checked + 1))
    case $name in
      *.*) is_test "${name%.*}" "${name#*.}" ;;
      *) is_row "$name" ;;
    esac || {
      echo "$document: there is no test $name"
      missing=$((missing + 1))
    }
  done < <(grep -oE "$NAMED" "$document" | tr -d '`' | sort -u)
  if [ "$checked" -eq "$before" ]; then
    echo "$document: no test is named: the check checks nothing"
    exit 1
  fi
done

echo "$checked names checked, $missing missing"
[ "$missing" -eq 0 ]
