"""Copies of scenes, shots and files, linked scenes, and scenes whose size or rate changes."""

import os
import shutil

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


def strips_of(scene):
    from blender_addon import compat

    return sorted(compat.all_strips(scene), key=lambda strip: (strip.channel, strip.name))


def takes_of(scene):
    return [strip["layert2v"]["take"] for strip in strips_of(scene)]


def regenerate_in(bpy, scene, name, **arguments):
    (strip,) = [each for each in strips_of(scene) if each.name == name]
    strip.select = True
    scene.sequence_editor.active_strip = strip
    bpy.ops.layert2v.regenerate(**arguments)
    wait_for_settled()


@pytest.mark.parametrize(("kind", "num_copied"), [("FULL_COPY", 4), ("LINK_COPY", 0)])
def test_takes_of_a_copied_scene_stay_in_the_copy(saved, backend, kind, num_copied):
    generate(saved, "a red ball")
    original = saved.context.scene
    original.name = "Cut"
    saved.ops.scene.new(type=kind)
    copy = saved.context.scene
    copy.name = "Version B"
    copy.frame_set(20)

    generate(saved, "a blue ball")
    assert (len(strips_of(original)), len(strips_of(copy))) == (4, num_copied + 4)
    regenerate_in(saved, copy, "Foreground 1", prompt="a green ball")

    assert takes_of(original) == [1, 1, 1, 1]
    assert sorted(takes_of(copy)) == [1] * (num_copied + 1) + [2] * 3
    assert original.layert2v.project_uid != copy.layert2v.project_uid


def test_a_running_job_goes_to_the_scene_that_asked_not_to_its_copy(saved, backend):
    original = saved.context.scene
    backend.script.hold = True
    fill_shot(saved, "a red ball")
    saved.ops.layert2v.generate()
    pump_until(lambda: bool(backend.jobs), "the job")
    saved.ops.scene.new(type="FULL_COPY")
    copy = saved.context.scene
    backend.finish()
    wait_for_settled()

    assert (len(strips_of(original)), len(strips_of(copy))) == (4, 0)


def test_copies_of_scenes_are_told_apart_after_loading_a_file_of_an_earlier_version(
    saved, backend, tmp_path
):
    from blender_addon.scene import project

    generate(saved, "a red ball")
    uid = saved.context.scene.layert2v.project_uid
    saved.context.scene.name = "Z"
    project.refresh()
    saved.ops.scene.new(type="FULL_COPY")
    saved.context.scene.name = "A"
    saved.context.scene.layert2v.project_scene = "Z"
    saved.ops.wm.save_mainfile()
    saved.ops.wm.open_mainfile(filepath=str(tmp_path / "edit.blend"))

    uids = {scene.name: scene.layert2v.project_uid for scene in saved.data.scenes}
    assert uids["Z"] == uid
    assert len(set(uids.values())) == 2


def test_a_duplicated_shot_has_takes_of_its_own(saved, backend):
    from blender_addon import compat
    from blender_addon.scene.pump import pump

    generate(saved, "a red ball")
    regenerate_in(saved, saved.context.scene, "Foreground 1", prompt="a green ball")
    pump()
    duplicate(saved, channels=4, frames=0)
    copies = [s for s in strips_of(saved.context.scene) if s.name.endswith(".001")]
    assert len(copies) == 4

    select(saved, strip_named(saved, "Foreground 1.001"))
    saved.ops.layert2v.step_take(step=-1)

    assert strip_named(saved, "Foreground 1")["layert2v"]["take"] == 2
    assert strip_named(saved, "Foreground 1.001")["layert2v"]["take"] == 1
    assert strip_named(saved, "Full.001")["layert2v"]["take"] == 1
    regenerate_in(saved, saved.context.scene, "Foreground 1.001", prompt="a kite")
    assert strip_named(saved, "Foreground 1.001")["layert2v"]["take"] == 3
    assert strip_named(saved, "Foreground 1")["layert2v"]["take"] == 2
    assert len({s["layert2v"]["shot"] for s in compat.all_strips(saved.context.scene)}) == 2


def duplicate(bpy, *, channels, frames):
    """Copy every strip as Shift+D does: new names, equal properties."""
    from blender_addon import compat

    editor = bpy.context.scene.sequence_editor
    for source in list(compat.strips(editor)):
        path = os.path.join(source.directory, source.elements[0].filename)
        start = compat.span(source)[0] + frames
        copy = compat.strips(editor).new_image(source.name, path, source.channel + channels, start)
        for element in list(source.elements)[1:]:
            copy.elements.append(element.filename)
        copy["layert2v"] = source["layert2v"].to_dict()


def test_a_copy_that_stands_later_is_told_apart_too_and_a_moved_half_is_none(saved, backend):
    from blender_addon.scene import copies

    generate(saved, "a red ball")
    right = strip_named(saved, "Background").split(frame=5, split_method="SOFT")
    right.channel = 9
    duplicate(saved, channels=10, frames=100)

    copies.separate_copies(saved.context.scene)

    shots = {s.name: s["layert2v"]["shot"] for s in strips_of(saved.context.scene)}
    assert shots["Background"] == shots[right.name] == shots["Foreground 1"]
    assert shots["Foreground 1"] != shots["Foreground 1.001"]


def begin_and_save(bpy, backend):
    backend.script.hold = True
    fill_shot(bpy, "a red ball")
    num_jobs = len(backend.jobs)
    bpy.ops.layert2v.generate()
    pump_until(lambda: len(backend.jobs) > num_jobs, "the job")
    bpy.ops.wm.save_mainfile()


def test_a_file_copied_on_disk_is_offered_the_take_of_the_other(saved, backend, tmp_path):
    from blender_addon.scene.runtime import runtime

    begin_and_save(saved, backend)
    shutil.copy(tmp_path / "edit.blend", tmp_path / "copied.blend")
    saved.ops.wm.open_mainfile(filepath=str(tmp_path / "copied.blend"))
    backend.finish()
    pump_until(lambda: any(view.waiting for view in runtime.board.ready), "the offer")

    assert "edit.blend" in runtime.board.ready[0].waiting
    assert not strips_of(saved.context.scene)
    saved.ops.layert2v.import_now()
    assert len(strips_of(saved.context.scene)) == 4


def test_the_next_version_of_a_file_gets_the_takes_that_the_earlier_one_asked_for(
    saved, backend, tmp_path
):
    begin_and_save(saved, backend)
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "edit_v002.blend"))
    saved.ops.wm.open_mainfile(filepath=str(tmp_path / "edit_v002.blend"))
    backend.finish()
    wait_for_settled()

    assert len(strips_of(saved.context.scene)) == 4


def test_what_the_earlier_version_asked_later_is_offered_only(saved, backend, tmp_path):
    from blender_addon.scene.runtime import runtime

    saved.context.scene.layert2v.background = "x"
    generate(saved, "a first ball")
    saved.ops.wm.save_mainfile()
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "edit_v002.blend"))
    saved.ops.wm.open_mainfile(filepath=str(tmp_path / "edit.blend"))
    connect(saved, backend.address)
    begin_and_save(saved, backend)
    saved.ops.wm.open_mainfile(filepath=str(tmp_path / "edit_v002.blend"))
    backend.finish()
    pump_until(lambda: any(view.waiting for view in runtime.board.ready), "the offer")

    assert len(strips_of(saved.context.scene)) == 4


def test_a_linked_scene_is_refused(saved, backend, tmp_path):
    saved.context.scene.name = "Lib"
    generate(saved, "a red ball")
    saved.ops.wm.save_mainfile()
    saved.ops.wm.read_homefile(use_empty=True)
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "user.blend"))
    with saved.data.libraries.load(str(tmp_path / "edit.blend"), link=True) as (_, wanted):
        wanted.scenes = ["Lib"]
    (linked,) = [scene for scene in saved.data.scenes if scene.library]
    saved.context.window.scene = linked

    for name in ("generate", "regenerate", "step_take", "import_take", "match_scene"):
        assert not getattr(saved.ops.layert2v, name).poll(), name
    assert len(backend.jobs) == 1


def test_layers_stay_together_when_the_rate_of_the_scene_has_changed(saved, backend):
    from blender_addon import compat

    generate(saved, "a red ball")
    saved.context.scene.render.fps = 24

    regenerate_in(saved, saved.context.scene, "Foreground 1", prompt="a green ball")

    spans = {compat.span(strip) for strip in strips_of(saved.context.scene)}
    assert spans == {(1, 10)}


def test_matching_the_scene_fits_and_times_the_strips(saved, backend):
    from blender_addon import compat

    scene = saved.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = 1920, 1280, 24
    generate(saved, "a red ball")
    trimmed = strip_named(saved, "Foreground 1")
    compat.set_span(trimmed, 4, 22)
    assert trimmed.transform.scale_x == pytest.approx(20)
    select(saved, trimmed)

    saved.ops.layert2v.match_scene()

    assert (scene.render.resolution_x, scene.render.resolution_y, scene.render.fps) == (96, 64, 8)
    assert trimmed.transform.scale_x == pytest.approx(1)
    spans = {strip.name: compat.span(strip) for strip in strips_of(scene)}
    assert spans.pop("Foreground 1") == (2, 8)
    assert set(spans.values()) == {(1, 10)}


def test_matching_never_runs_a_strip_into_another(saved, backend):
    from blender_addon import compat

    scene = saved.context.scene
    generate(saved, "a red ball")
    scene.frame_set(10)
    generate(saved, "a blue ball")
    for strip in strips_of(scene):
        strip["layert2v"]["rate"] = "8"
    scene.render.fps = 8
    other = strip_named(saved, "Background.001")
    other.channel = 1
    select(saved, strip_named(saved, "Foreground 1"))

    from blender_addon.core.channels import NoFreeChannels
    from blender_addon.scene import matching

    now = matching.format_of(scene)
    before = {strip.name: compat.span(strip) for strip in strips_of(scene)}
    with pytest.raises(NoFreeChannels, match="would run into"):
        matching.match(scene, matching.Format(now.width, now.height, now.rate * 3))

    assert {strip.name: compat.span(strip) for strip in strips_of(scene)} == before
