#!/usr/bin/env bash
# Makes .venv with everything the local stack, the checks and the tests need. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

log=.venv/setup.log

stop() {
    printf '\n  %s\n\n' "$@" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Counts pip's lines: a moving line on a terminal, two still ones in a log.
show_progress() {
    local total count=0 line
    total=$(grep -c == requirements/constraints.txt)
    [ -t 1 ] || echo "  fetching and installing about $total packages (1 to 3 minutes)"
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        [ -t 1 ] || continue
        case $line in
        Collecting*)
            count=$((count + 1))
            printf '\r\033[K  fetching %3d of about %d: %s' "$count" "$total" "$(cut -d' ' -f2 <<<"$line" | cut -d= -f1)"
            ;;
        Installing*) printf '\r\033[K  installing %d packages (about half a minute) …' "$count" ;;
        esac
    done
    [ ! -t 1 ] || printf '\r\033[K'
}

python=$(find_python) || stop "Python 3.11 or newer is needed and was not found." \
    "Install it (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python)" \
    "or name one:  make setup PYTHON=/path/to/python3"
"$python" -c 'import ensurepip, venv' 2>/dev/null || stop "$python cannot make virtual environments." \
    "Debian and Ubuntu keep that in a package of its own:  apt-get install python3-venv"

# Installs what it is given; shows what went wrong and ends the script when it cannot.
install() {
    .venv/bin/python -m pip install --disable-pip-version-check --no-compile --progress-bar off "$@" 2>&1 |
        show_progress || {
        tail -n 15 "$log" | cut -c 1-200 >&2
        stop "The installation failed; the whole log is $log. Running it again goes on where it stopped."
    }
}

echo "Setting up .venv (once)"
# A run that was cut off may have left a Python without pip.
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
: >"$log"
install -r requirements/dev.txt
broken=$(.venv/bin/python infra/half_installed.py)
# shellcheck disable=SC2086 # one word each
[ -z "$broken" ] || install --ignore-installed --no-deps $broken
cat >.venv/bin/audiototext-admin <<'LAUNCHER'
#!/bin/sh
# The operator's command, from anywhere.
bin=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$(dirname "$(dirname "$bin")")${PYTHONPATH:+:$PYTHONPATH}" exec "$bin/python" -m infra.admin "$@"
LAUNCHER
chmod +x .venv/bin/audiototext-admin
# pip compiles on one core. Some packages carry files for other Pythons that cannot be compiled: no matter.
.venv/bin/python -m compileall -q -j 0 .venv/lib >>"$log" 2>&1 || true
echo "  ready"
