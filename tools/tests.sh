#!/bin/sh
# tests.sh PYTHON JOBS [pytest's arguments]: the tests, in so many processes at once. What fails there runs once more, alone, and
# is named: a machine that hiccups refuses no change, and a test that fails twice fails. Only pytest's exit code 1 (tests failed),
# and no more than nine of them, is worth that second look.
set -eu
python=$1 jobs=$2
shift 2
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
# pyproject.toml's own options, but for the cache, which remembers what failed
run() { "$python" -m pytest -q -o addopts="--import-mode=importlib --strict-markers --strict-config" -o cache_dir="$cache" "$@"; }
status=0
run -n "$jobs" --dist worksteal "$@" || status=$?
failed=$cache/v/cache/lastfailed
[ "$status" -eq 1 ] && [ -f "$failed" ] && [ "$(grep -c true "$failed")" -le 9 ] || exit "$status"
echo "failed once beside others, and now alone:"
sed -n 's/^ *"\(.*\)": true,*$/  \1/p' "$failed"
run -n 0 --last-failed --last-failed-no-failures none "$@"
