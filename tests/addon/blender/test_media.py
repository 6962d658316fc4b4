"""Media of files that were not saved yet, and what becomes of them at the first save."""

import pytest

from support.blender_session import (
    connect,
    fill_shot,
    generate,
    pump_until,
    select,
    strip_named,
    wait_for_settled,
)


def directories(bpy):
    from blender_addon import compat

    return [compat.media_folder(strip) for strip in compat.all_strips(bpy.context.scene)]


def test_media_of_an_unsaved_file_lie_beside_it_from_the_first_save_on(
    bpy, backend, tmp_path, unsaved
):
    connect(bpy, backend.address)
    generate(bpy, "a red ball")
    originals = directories(bpy)
    folder = tmp_path / "project"
    folder.mkdir()

    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "edit.blend"))

    assert all(path.is_relative_to(folder / "layert2v") for path in directories(bpy))
    assert all(path.is_dir() for path in originals)
    bpy.ops.wm.open_mainfile(filepath=str(folder / "edit.blend"))
    strip = strip_named(bpy, "Foreground 1")
    assert strip.directory.startswith("//layert2v")
    assert strip["layert2v"]["path"].startswith("//layert2v")
    assert all(path.is_dir() for path in directories(bpy))
    connect(bpy, backend.address)
    select(bpy, strip)
    bpy.ops.layert2v.regenerate(prompt="a green ball")
    wait_for_settled()
    assert strip_named(bpy, "Foreground 1")["layert2v"]["take"] == 2
    assert all(path.is_relative_to(folder / "layert2v") for path in directories(bpy))


def test_a_take_asked_for_before_the_first_save_comes_beside_the_file(
    bpy, backend, tmp_path, unsaved
):
    connect(bpy, backend.address)
    backend.script.hold = True
    fill_shot(bpy, "a red ball")
    bpy.ops.layert2v.generate()
    pump_until(lambda: bool(backend.jobs), "the job")
    folder = tmp_path / "project"
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "edit.blend"))
    backend.finish()
    wait_for_settled()

    assert len(directories(bpy)) == 4
    assert all(path.is_relative_to(folder / "layert2v") for path in directories(bpy))


def test_a_save_whose_media_cannot_be_copied_says_so_and_the_next_one_tries_again(
    bpy, backend, tmp_path, unsaved
):
    from blender_addon.scene.runtime import runtime

    connect(bpy, backend.address)
    generate(bpy, "a red ball")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "layert2v").write_text("a file where the folder should be")

    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "edit.blend"))
    assert "could not be copied" in runtime.notice
    assert all(path.is_relative_to(unsaved) for path in directories(bpy))
    (folder / "layert2v").unlink()
    bpy.ops.wm.save_mainfile()

    assert runtime.notice == ""
    assert all(path.is_relative_to(folder / "layert2v") for path in directories(bpy))


@pytest.mark.parametrize("kind", ["chosen", "temporary"])
def test_unsaved_media_never_lie_in_the_extensions_own_folder(bpy, tmp_path, monkeypatch, kind):
    from blender_addon.scene import media

    if kind == "temporary":
        monkeypatch.setattr(media, "chosen_folder", lambda: "")
        bpy.context.preferences.filepaths.temporary_directory = str(tmp_path)

    folder = media.unsaved_folder()

    assert folder.is_relative_to(tmp_path)
    assert "extensions" not in folder.parts


def test_a_take_that_was_deleted_after_the_first_save_does_not_come_back(
    bpy, backend, tmp_path, unsaved
):
    from blender_addon import compat
    from blender_addon.scene.pump import pump
    from blender_addon.scene.runtime import runtime

    connect(bpy, backend.address)
    generate(bpy, "a blue ball")
    backend.script.hold = True
    fill_shot(bpy, "a red ball")
    bpy.ops.layert2v.generate()
    pump_until(lambda: len(backend.jobs) == 2, "the job")
    folder = tmp_path / "project"
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "edit.blend"))
    backend.finish()
    wait_for_settled()
    editor = bpy.context.scene.sequence_editor
    for strip in list(compat.strips(editor)):
        compat.strips(editor).remove(strip)
    bpy.ops.wm.save_mainfile()
    runtime.close()

    bpy.ops.wm.open_mainfile(filepath=str(folder / "edit.blend"))
    connect(bpy, backend.address)
    backend.script.hold = False
    generate(bpy, "a green ball")
    pump()

    assert len(directories(bpy)) == 4
