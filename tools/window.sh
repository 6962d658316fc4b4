#!/usr/bin/env bash
# Walks through the add-on in a real window of the newest Blender: tests/window/walk.py.
#
# Makes a Debian sid with Blender, a virtual screen and a window manager in build/window/sid (once;
# 2 GB), builds the extension, and runs the walk in there, drawn by the processor. The backend runs
# outside, from this repository's .venv. The pictures in build/window/work are to be looked at.
# Needs root on Debian; elsewhere it says so and does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$PWD/.venv/bin/python}
root=$PWD/build/window/sid work=$PWD/build/window/work

if [ "$(id -u)" -ne 0 ] || ! command -v mmdebstrap >/dev/null; then
  echo "make window: skipped, for it needs root on Debian and the package mmdebstrap." >&2
  exit 0
fi

# In namespaces of its own, so that mounts and processes end with this script, however it ends.
if [ -z "${WINDOW_NAMESPACE:-}" ]; then
  WINDOW_NAMESPACE=1 exec unshare --mount-proc --pid --fork --kill-child "$0" "$@"
fi

if [ ! -e "$root/usr/bin/blender" ]; then
  options=(--aptopt='APT::Install-Recommends "false"')
  while read -r line; do
    options+=("--aptopt=$line")
  done < <(apt-config dump | grep -E '^Acquire::(Check-Valid-Until|https?::(Proxy|CaInfo)) ' || true)
  # Blender's own extension tool needs the modules cattr and requests.
  packages=blender,xvfb,openbox,imagemagick,libgl1-mesa-dri,libegl1,fonts-dejavu-core
  packages+=,python3-numpy,python3-cattr,python3-requests
  mkdir -p "$(dirname "$root")"
  mmdebstrap --quiet --mode=root --variant=minbase "${options[@]}" --include="$packages" sid "$root"
fi
rm -rf "$work" && mkdir -p "$work"/{bin,home,data,tmp}
"$python" build_addon.py --out "$work"

mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm" "$root$work" && mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/tmp" # a screen that was killed leaves a lock there
for node in null zero random urandom; do
  [ -e "$root/dev/$node" ] || cp -a "/dev/$node" "$root/dev/"
done
mount --bind "$work" "$root$work"
cp tests/window/walk.py "$work"
# The add-on starts this one, which starts the backend outside: the root of this script's process.
cat >"$work/bin/layert2v-backend" <<END
#!/bin/sh
exec chroot /proc/$$/root env PYTHONPATH="${PYTHONPATH:-}" "$python" -m layert2v_backend "\$@"
END
chmod +x "$work/bin/layert2v-backend"

inside() { # the folders have the same paths inside and outside, so that sockets and media are found
  chroot "$root" env -i PATH="$work/bin:/usr/sbin:/usr/bin:/bin" HOME="$work/home" \
    XDG_DATA_HOME="$work/data" TMPDIR="$work/tmp" LANG=C.UTF-8 LIBGL_ALWAYS_SOFTWARE=1 \
    DISPLAY=:71 "$@"
}
inside blender --version | head -1
inside Xvfb :71 -screen 0 1280x800x24 +extension GLX &>"$work/screen.log" &
until [ -e "$root/tmp/.X11-unix/X71" ]; do sleep 0.2; done
inside openbox &>"$work/openbox.log" &
inside blender --window-geometry 0 0 1280 800 --python "$work/walk.py" \
  -- "$work"/layert2v-*.zip "$work" &>"$work/blender.log" || true

result=$(cat "$work/result" 2>/dev/null || echo "Blender has ended: see $work/blender.log")
echo "$result; pictures in $work"
[ "$result" = passed ] && ! grep -A9 Traceback "$work/blender.log"
