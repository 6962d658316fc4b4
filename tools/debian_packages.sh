#!/usr/bin/env bash
# Makes sure that the named Debian packages are there: installs what is missing when run as root on
# Debian, and otherwise says what to install.
set -euo pipefail
if ! command -v dpkg-query >/dev/null; then
  echo "Not Debian: install the libraries of these packages yourself if Blender does not start: $*"
  exit 0
fi
missing=()
for package in "$@"; do
  state=$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  [ "${state:0:2}" = ii ] || missing+=("$package")
done
for module in venv ensurepip; do
  "${PYTHON:-python3.11}" -c "import $module" 2>/dev/null || { missing+=(python3-venv); break; }
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "Missing Debian packages. Install them, then try again: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
