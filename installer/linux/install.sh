#!/usr/bin/env bash
# Sets up a checkout on a bare machine: Python's venv module, the system libraries Qt needs, .venv with the
# locked dependencies, and the two commands. Safe to run again: what is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3}
packages=()

say() { printf '%s\n' "$*" >&2; }

if ! "$python" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' 2>/dev/null; then
  say "Python 3.11, 3.12 or 3.13 is needed; \"$python\" is not one of them. Name one with: make install PYTHON=python3.12"
  exit 1
fi

# Debian's python3 comes without ensurepip, so "python3 -m venv" fails until python3-venv is there.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi

# Qt's libraries, as pairs of soname and Debian package. The first six are needed even without a display.
if [ "$(uname -s)" = Linux ]; then
  known=$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null || true)
  while read -r soname package; do
    case "$known" in *"$soname"*) ;; *) packages+=("$package") ;; esac
  done <<'LIBRARIES'
libglib-2.0.so.0 libglib2.0-0
libEGL.so.1 libegl1
libGL.so.1 libgl1
libxkbcommon.so.0 libxkbcommon0
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libxcb-cursor.so.0 libxcb-cursor0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-shape.so.0 libxcb-shape0
libxcb-image.so.0 libxcb-image0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-randr.so.0 libxcb-randr0
libxcb-xinerama.so.0 libxcb-xinerama0
LIBRARIES
fi

if [ ${#packages[@]} -gt 0 ]; then
  root=()
  if [ "$(id -u)" != 0 ]; then root=(sudo -n); fi
  line="apt-get install -y --no-install-recommends ${packages[*]}"
  if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
    say "Installing system packages: ${packages[*]}"
    "${root[@]}" apt-get update -qq >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive $line -qq >&2
  else
    say "These system packages are missing. Run this once, then try again:"
    say "  sudo $line"
    exit 1
  fi
fi

stamp=.venv/.installed
wanted=$(cat requirements.lock pyproject.toml installer/linux/install.sh | sha256sum | cut -d' ' -f1)-$("$python" -V | tr ' ' '-')
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ] && [ -x .venv/bin/python ]; then exit 0; fi

say "Installing the locked dependencies into .venv (about a minute) ..."
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
printf '%s' "$wanted" >"$stamp"
