#!/usr/bin/env bash
# Installs the newest versions of every direct requirement into a throw-away environment and pins what came.
# A requirement that must not move says so in its own file (name==version).
set -euo pipefail
cd "$(dirname "$0")/.."

work=.build/upgrade
rm -rf "$work"
mkdir -p "$work"
for file in lambda lambda-api lambda-dispatch lambda-events worker dev accuracy; do
    sed '/^-c /d' "requirements/$file.txt" >"$work/$file.txt"
done
echo "Resolving the newest versions (a few minutes)"
.venv/bin/python -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$work/dev.txt" -r "$work/accuracy.txt"
{
    echo '# Every package of every requirements file, pinned. `make upgrade` writes this file.'
    "$work/venv/bin/python" -m pip freeze --all --exclude pip | tr '[:upper:]_' '[:lower:]-' | LC_ALL=C sort -t= -k1,1
} >"$work/constraints.txt"
mv "$work/constraints.txt" requirements/constraints.txt
for tool in sam:aws-sam-cli checkov:checkov; do
    file=requirements/tools/${tool%%:*}.txt
    .venv/bin/python -m venv "$work/${tool%%:*}"
    "$work/${tool%%:*}/bin/python" -m pip install --quiet --disable-pip-version-check "${tool#*:}"
    {
        head -n 1 "$file"
        "$work/${tool%%:*}/bin/python" -m pip freeze --all --exclude pip | tr '[:upper:]_' '[:lower:]-' | sort
    } >"$work/${tool%%:*}.txt"
    mv "$work/${tool%%:*}.txt" "$file"
done
rm -rf "$work"
git --no-pager diff --stat requirements
echo "Now run: make check && make test"
