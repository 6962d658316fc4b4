import hashlib
from pathlib import Path

import pytest

from support import pictures
from support.blender_session import (
    connect,
    generate,
    largest_difference,
    render_frame,
    select,
    strip_named,
    wait_for_settled,
)


def regenerate(bpy, name, **arguments):
    select(bpy, strip_named(bpy, name))
    assert bpy.ops.layert2v.regenerate(**arguments) == {"FINISHED"}
    wait_for_settled()


def hashes(bpy, strip):
    folder = Path(bpy.path.abspath(strip.directory))
    return [hashlib.sha256((folder / e.filename).read_bytes()).hexdigest() for e in strip.elements]


def flattened(backend, sources, frame):
    """Composite layers of several fake jobs; `sources` gives a job per layer."""
    layers = []
    for layer, job in enumerate(sources):
        stem = f"foreground_{layer}" if layer else "background"
        path = f"{stem}/png/{stem}_{frame:04d}.png"
        layers.append(pictures.read_png(backend.jobs[job].files[path].data))
    return pictures.flatten(layers[0], layers[1:])


def test_one_layer_is_replaced_in_place_and_the_others_stay(saved, backend, tmp_path):
    from blender_addon import compat

    generate(saved, "a red ball", "a blue ball")
    before = {s.name: (s.channel, compat.span(s)) for s in compat.all_strips(saved.context.scene)}
    kept = {
        name: hashes(saved, strip_named(saved, name)) for name in ("Background", "Foreground 2")
    }
    old = hashes(saved, strip_named(saved, "Foreground 1"))

    regenerate(saved, "Foreground 1", prompt="a green ball", seed="77")

    after = {s.name: (s.channel, compat.span(s)) for s in compat.all_strips(saved.context.scene)}
    assert after == before
    for name, digests in kept.items():
        assert hashes(saved, strip_named(saved, name)) == digests
        assert strip_named(saved, name)["layert2v"]["take"] == 1
    assert hashes(saved, strip_named(saved, "Foreground 1")) != old
    stored = strip_named(saved, "Foreground 1")["layert2v"]
    assert (stored["take"], stored["prompt"], stored["seed"]) == (2, "a green ball", 77)
    for name in ("Matte 1", "Full"):
        assert strip_named(saved, name)["layert2v"]["job"] == "jobs/job0002"
    expected = flattened(backend, ["jobs/job0001", "jobs/job0002", "jobs/job0001"], 5)
    assert largest_difference(render_frame(saved, 5, tmp_path), expected) <= 2


def test_kept_layers_are_asked_for_by_the_jobs_that_are_shown(saved, backend):
    generate(saved, "a red ball", "a blue ball")
    regenerate(saved, "Foreground 1", prompt="a green ball")
    regenerate(saved, "Foreground 2", seed="9")

    request = backend.script.create_requests[-1].shot

    kept = [(layer.kept.job, layer.kept.layer_index) for layer in request.layers[:2]]
    assert kept == [("jobs/job0001", 0), ("jobs/job0002", 1)]
    assert not request.layers[2].HasField("kept")
    assert (request.layers[2].prompt, request.layers[2].seed) == ("a blue ball", 9)


def test_kept_files_are_not_sent_again(saved, backend):
    generate(saved, "a red ball", "a blue ball")
    backend.script.read_offsets.clear()

    regenerate(saved, "Foreground 1", prompt="a green ball")

    # The new layer, its matte, the full video and the manifest; background and foreground 2 stay.
    assert len(backend.script.read_offsets) == 3 * 9 + 1


def test_a_matte_stands_for_its_foreground(saved, backend):
    generate(saved, "a red ball")

    regenerate(saved, "Matte 1", prompt="a green ball")

    assert strip_named(saved, "Foreground 1")["layert2v"]["prompt"] == "a green ball"


def test_the_full_video_cannot_be_regenerated_by_itself(saved, backend):
    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Full"))

    with pytest.raises(RuntimeError, match="Select one of its layers"):
        saved.ops.layert2v.regenerate()


def test_a_strip_of_the_users_own_cannot_be_regenerated(saved, backend):
    generate(saved, "a red ball")
    strip = strip_named(saved, "Background")
    del strip["layert2v"]
    select(saved, strip)

    with pytest.raises(RuntimeError, match="shows no take"):
        saved.ops.layert2v.regenerate()


def test_trims_and_splits_survive_a_new_take(saved, backend):
    from blender_addon import compat

    generate(saved, "a red ball")
    strip = strip_named(saved, "Foreground 1")
    right = strip.split(frame=5, split_method="SOFT")
    compat.set_span(strip, 2, 5)
    right.channel = 7
    right.name = "Right"

    regenerate(saved, "Foreground 1", prompt="a green ball")

    assert compat.span(strip_named(saved, "Foreground 1")) == (2, 5)
    assert compat.span(strip_named(saved, "Right")) == (5, 10)
    assert strip_named(saved, "Right").channel == 7
    for name in ("Foreground 1", "Right"):
        assert strip_named(saved, name)["layert2v"]["take"] == 2


def test_takes_are_stepped_through_in_place(saved, backend, tmp_path):
    generate(saved, "a red ball")
    first = render_frame(saved, 5, tmp_path)
    regenerate(saved, "Foreground 1", prompt="a green ball")
    second = render_frame(saved, 5, tmp_path)
    assert largest_difference(first, second) > 20
    select(saved, strip_named(saved, "Foreground 1"))

    saved.ops.layert2v.step_take(step=-1)
    assert strip_named(saved, "Foreground 1")["layert2v"]["take"] == 1
    assert largest_difference(render_frame(saved, 5, tmp_path), first) == 0

    saved.ops.layert2v.step_take(step=-1)
    assert strip_named(saved, "Foreground 1")["layert2v"]["take"] == 2
    assert largest_difference(render_frame(saved, 5, tmp_path), second) == 0


def test_each_import_is_one_undo_step(saved, backend):
    from blender_addon import compat

    def names():
        return sorted(strip.name for strip in compat.all_strips(saved.context.scene))

    def undo_or_redo(operator):
        window = saved.context.window_manager.windows[0]
        with saved.context.temp_override(
            window=window, screen=window.screen, area=window.screen.areas[0]
        ):
            operator()

    generate(saved, "a red ball")
    generate(saved, "a blue ball")
    assert len(names()) == 8

    undo_or_redo(saved.ops.ed.undo)
    assert names() == ["Background", "Foreground 1", "Full", "Matte 1"]
    undo_or_redo(saved.ops.ed.redo)
    assert len(names()) == 8


def test_an_undone_import_can_be_made_again_from_disk(saved, backend):
    from blender_addon import compat

    generate(saved, "a red ball")
    strip = strip_named(saved, "Background")
    take = Path(saved.path.abspath(strip.directory)).parent.parent
    for each in list(compat.strips(saved.context.scene.sequence_editor)):
        compat.strips(saved.context.scene.sequence_editor).remove(each)

    saved.ops.layert2v.import_take(directory=str(take))

    assert len(compat.all_strips(saved.context.scene)) == 4


def test_a_saved_shot_opens_with_relative_paths_and_renders_the_same(saved, backend, tmp_path):
    generate(saved, "a red ball")
    before = render_frame(saved, 5, tmp_path)
    saved.ops.wm.save_mainfile()
    moved = tmp_path.parent / f"{tmp_path.name}_moved"
    tmp_path.rename(moved)
    try:
        saved.ops.wm.open_mainfile(filepath=str(moved / "edit.blend"))
        after = render_frame(saved, 5, moved)
        connect(saved, backend.address)
        regenerate(saved, "Foreground 1", prompt="a green ball")
        stored = strip_named(saved, "Foreground 1")["layert2v"]
    finally:
        moved.rename(tmp_path)

    assert largest_difference(before, after) == 0
    assert stored["take"] == 2
    assert stored["path"].startswith("//layert2v")
