#!/bin/sh
# Usage: lint_man.sh MANUAL...: mandoc has nothing to say about them.
set -eu

if ! command -v mandoc >/dev/null; then
  echo 'mandoc is not installed'
  exit 77
fi
found=$(mandoc -T lint -W style "$@" 2>&1) || true
# Manuals of other packages need not be installed, nor their list be new.
found=$(printf '%s' "$found" | grep -v -e 'STYLE: referenced manual not found' -e 'outdated mandoc.db' || true)
printf '%s\n' "$found"
[ -z "$found" ]
