#!/bin/sh
# tests.sh PYTHON JOBS [pytest's arguments]: the tests, in so many processes at once. What fails there runs once more, alone, and
# is named: a machine that hiccups refuses no change, and a test that fails twice fails. Only pytest's exit code 1 (tests failed),
# and no more than nine of them, is worth that second look.
set -eu
python=$1 jobs=$2
shift 2
# Ledgers wait for the disk, and there are thousands of them: their folders lie in memory where that has a gigabyte free and programs may run.
memory=$(mktemp -d -p /dev/shm 2>/dev/null) || memory=
if [ -n "$memory" ]; then
  printf '#!/bin/sh\n' >"$memory/runs" && chmod +x "$memory/runs"
  { "$memory/runs" && [ "$(df -Pk "$memory" | awk 'NR == 2 { print $4 }')" -gt 1048576 ]; } 2>/dev/null || { rm -rf "$memory"; memory=; }
fi
cache=${memory:-$(mktemp -d)}
trap 'rm -rf "$cache"' EXIT
trap 'exit 130' HUP INT TERM  # what was stopped takes its folders along, too
# pyproject.toml's own options, but for the cache, which remembers what failed; what a test that passed has written is not kept
run() {
  "$python" -m pytest -q -o addopts="--import-mode=importlib --strict-markers --strict-config" -o cache_dir="$cache" \
    --basetemp="$cache/t" -o tmp_path_retention_policy=failed "$@"
}
status=0
run -n "$jobs" --dist worksteal "$@" || status=$?
failed=$cache/v/cache/lastfailed
[ "$status" -eq 1 ] && [ -f "$failed" ] && [ "$(grep -c true "$failed")" -le 9 ] || exit "$status"
echo "failed once beside others, and now alone:"
sed -n 's/^ *"\(.*\)": true,*$/  \1/p' "$failed"
run -n 0 --last-failed --last-failed-no-failures none "$@"
