"""Fixtures inside a bpy module. Skipped, with the reason, where there is none."""

import os
import sys

import pytest

from support.blender_session import connect, fresh_blender
from support.fake_backend import FakeBackend

pytest.importorskip("bpy", reason="needs a bpy module: pip install bpy==4.5.15")


_exit_status = 0


def pytest_sessionfinish(session, exitstatus):
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """End at once: bpy 4.5.15 was seen to hang for good while it frees its memory at exit."""
    if "coverage" in sys.modules:
        measured = sys.modules["coverage"].Coverage.current()
        if measured is not None:
            measured.stop()
            measured.save()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_status)


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/addon/blender" in item.path.as_posix():
            item.add_marker(pytest.mark.blender)


@pytest.fixture(autouse=True)
def unsaved(tmp_path, monkeypatch):
    """Keep media of unsaved files out of the real folder for them."""
    from blender_addon.ui import preferences

    monkeypatch.setattr(preferences, "chosen_folder", lambda: str(tmp_path / "unsaved"))
    return tmp_path / "unsaved"


@pytest.fixture
def bpy():
    with fresh_blender() as fresh:
        yield fresh


@pytest.fixture
def backend():
    with FakeBackend() as running:
        yield running


@pytest.fixture
def saved(bpy, backend, tmp_path):
    """Blender connected to the fake backend, in a saved file whose scene matches the shot."""
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "edit.blend"))
    connect(bpy, backend.address)
    bpy.ops.layert2v.match_scene(with_range=True)
    bpy.ops.layert2v.set_view_transform()
    return bpy
