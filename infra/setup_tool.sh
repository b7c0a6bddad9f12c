#!/usr/bin/env bash
# infra/setup_tool.sh NAME [with-dependencies]: makes .venv-tools/NAME from requirements/tools/NAME.txt. Safe to run again.
# With dependencies: for what needs other packages on a machine with a GPU than on one without.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
only=--no-deps
if [ "${2:-}" = with-dependencies ]; then only=; fi
home=.venv-tools/$name
echo "Setting up $name in $home (once, about a minute)"
mkdir -p .venv-tools
.venv/bin/python -m venv --clear "$home"
"$home/bin/python" -m pip install --quiet --disable-pip-version-check $only -r "requirements/tools/$name.txt" 2>"$home/setup.log" || {
    tail -n 15 "$home/setup.log" | cut -c 1-200 >&2
    printf '\n  The installation of %s failed; the whole log is %s/setup.log.\n\n' "$name" "$home" >&2
    exit 1
}
