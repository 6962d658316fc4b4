#!/usr/bin/env bash
# Runs the README's two commands on a minimal Debian 12, as on a machine that nobody prepared.
#
# Makes the smallest Debian that has Python 3.11, make, git and certificates, carries in how pip,
# npm and apt reach their packages on this host, clones the committed state of the repository into it, and
# runs the commands with an empty environment. Needs root on Debian, and 8 GB of disk while it runs.
#
#   tools/fresh.sh [COMMAND...]    the commands; without any, those of the README
#   FRESH_KEEP=1                   keeps the folder, to look into it
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- "make demo" "make test"

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "make fresh: it makes a Debian in a folder, which needs root on Debian or Ubuntu;" \
    "run it as: sudo make fresh" >&2
  exit 1
fi
if ! command -v mmdebstrap >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap
fi

# Everything happens in a mount namespace and a process namespace of its own, so that mounts and
# processes end with this script, however it ends.
if [ -z "${FRESH_NAMESPACE:-}" ]; then
  FRESH_ROOT=$(mktemp -d "${TMPDIR:-/tmp}/layert2v-fresh.XXXXXX")
  export FRESH_ROOT FRESH_NAMESPACE=1
  trap '[ -n "${FRESH_KEEP:-}" ] && echo "kept: $FRESH_ROOT" || rm -rf "$FRESH_ROOT"' EXIT
  unshare --mount --pid --fork --kill-child "$0" "$@" &
  # The first process of a namespace ignores a request to end, so it is killed, and all others go
  # with it.
  trap 'kill -KILL $!; exit 143' TERM
  trap 'kill -KILL $!; exit 130' INT
  wait $!
  exit
fi

root=$FRESH_ROOT
started=$SECONDS
say() { printf '\n=== %s (after %d s)\n' "$*" "$((SECONDS - started))"; }

say "a minimal Debian 12"
apt_options=(--aptopt='APT::Install-Recommends "false"')
while read -r line; do
  apt_options+=("--aptopt=$line")
done < <(apt-config dump | grep -E '^Acquire::(Check-Valid-Until|https?::(Proxy|CaInfo)) ' || true)
mmdebstrap --quiet --mode=root --variant=minbase "${apt_options[@]}" \
  --include=python3.11,make,git,ca-certificates bookworm "$root"

say "how pip and npm reach their packages here"
carry() { # binds a file or folder of this host, read-only, at the same place
  local path=$1
  [ -e "$path" ] && ! mountpoint -q "$root$path" || return 0
  if [ -d "$path" ]; then
    mkdir -p "$root$path"
  else
    mkdir -p "$root$(dirname "$path")" && touch "$root$path"
  fi
  mount --bind -o ro "$path" "$root$path"
  echo "  $path"
}
carry /etc/resolv.conf
home=$(getent passwd "$(id -u)" | cut -d: -f6)
[ -f "$home/.npmrc" ] && carry "$home/.npmrc"
pip_settings=$(HOME=$home python3 -m pip config list 2>/dev/null || true)
while read -r file; do carry "$file"; done < <(
  HOME=$home python3 -m pip config debug 2>/dev/null | sed -nE 's/^ +(.*), exists: True$/\1/p'
)
while read -r path; do
  # The pages of an index lie in its folder "simple" and link to files beside it.
  [ "$(basename "$path")" = simple ] && path=$(dirname "$path")
  carry "$path"
done < <(grep -oP "(^|(?<=[ '=])|(?<=file://))/[^ ']+" <<<"$pip_settings" || true)
environment=(HOME="$home" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
for name in $(compgen -e | grep -E '^(PIP_.*|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS|NPM_CONFIG_.*)$'); do
  environment+=("$name=${!name}")
  if [[ ${!name} == /* ]]; then carry "${!name}"; fi
done

say "the repository, as committed"
mkdir -p "$root/proc" "$root/dev/shm" "$root/srv"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
git clone -q --no-hardlinks "file://$repository" "$root/srv/layert2v"
git -C "$root/srv/layert2v" log -1 --oneline

for command in "$@"; do
  say "$command"
  begun=$SECONDS
  chroot "$root" env -i "${environment[@]}" bash -c "cd /srv/layert2v && time $command" || {
    status=$?
    say "FAILED with status $status: $command"
    exit "$status"
  }
  say "passed in $((SECONDS - begun)) s: $command"
done
