"""The zip in a profile of its own: installed, enabled, one shot made, disabled."""

import os
import subprocess
import sys
from pathlib import Path

import forbid_network
import pytest

import build_addon
from support.waiting import HANG_S

SCRIPT = """
import sys, os
import bpy

zip_path, address, folder = sys.argv[1:]
bpy.context.preferences.system.use_online_access = True
bpy.ops.extensions.package_install_files(
    repo="user_default", filepath=zip_path, enable_on_install=True
)
name = "bl_ext.user_default.layert2v"
assert name in bpy.context.preferences.addons, list(bpy.context.preferences.addons)
preferences = bpy.context.preferences.addons[name].preferences
preferences.address = address
bpy.ops.wm.read_homefile(use_empty=True)
bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, "edit.blend"))
pump = sys.modules[name + ".scene.pump"].pump
board = sys.modules[name + ".scene.runtime"].runtime.board
import time

def wait(is_done):
    deadline = time.monotonic() + 600
    while not is_done():
        assert time.monotonic() < deadline
        pump() or time.sleep(0.01)

bpy.ops.layert2v.connect()
wait(lambda: board.models)
shot = bpy.context.scene.layert2v
shot.background = "a beach"
bpy.ops.layert2v.foreground_add(prompt="a ball")
assert bpy.ops.layert2v.generate() == {"FINISHED"}
wait(lambda: not board.active and not board.ready)
editor = bpy.context.scene.sequence_editor
strips = editor.strips if hasattr(editor, "strips") else editor.sequences
names = sorted(strip.name for strip in strips)
runtime = sys.modules[name + ".scene.runtime"].runtime
session, jobs = runtime.session, list(runtime.board.jobs)
bpy.ops.wm.read_homefile(app_template="Video_Editing")
bpy.ops.wm.read_homefile(app_template="")
assert runtime.session is session and list(runtime.board.jobs) == jobs
import layert2v_client
bpy.ops.preferences.addon_disable(module=name)
assert not hasattr(bpy.types.Scene, "layert2v")
print("INSTALLED", names, layert2v_client.__file__, flush=True)
os._exit(0)  # bpy 4.5 may hang while it frees memory at exit
"""


@pytest.fixture(scope="module")
def zip_path(tmp_path_factory):
    return build_addon.build(tmp_path_factory.mktemp("zip"))


@pytest.mark.slow
def test_the_zip_installs_enables_and_makes_a_shot(zip_path, backend, tmp_path):
    script = tmp_path / "install.py"
    script.write_text(SCRIPT)
    profile = tmp_path / "profile"
    # Of this repository the child sees nothing but the watch that keeps tests off the network.
    environment = {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(profile),
        "PYTHONPATH": str(Path(forbid_network.__file__).parent),
    }

    result = subprocess.run(
        [sys.executable, str(script), str(zip_path), backend.address, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=HANG_S,
    )

    assert "INSTALLED ['Background', 'Foreground 1', 'Full', 'Matte 1']" in result.stdout, (
        result.stdout + result.stderr
    )
