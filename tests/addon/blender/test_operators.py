import sys
from dataclasses import replace
from pathlib import Path

import pytest

from layert2v.v1 import system_pb2
from support import pictures
from support.blender_session import (
    fill_shot,
    generate,
    largest_difference,
    pump_until,
    render_frame,
    select,
    strip_named,
    wait_for_settled,
)
from support.fake_backend import invalid_shot

SERVES = """
import pathlib, sys
arguments = sys.argv[1:]
ready = pathlib.Path(arguments[arguments.index("--ready-file") + 1])
ready.write_text("x")
sys.stdin.read()
"""


def test_foregrounds_are_added_moved_and_removed(saved):
    fill_shot(saved, "one", "two", "three")
    foregrounds = saved.context.scene.layert2v.foregrounds

    with pytest.raises(RuntimeError, match="at most 3 foregrounds"):
        saved.ops.layert2v.foreground_add()
    saved.ops.layert2v.foreground_move(index=0, step=1)
    assert saved.ops.layert2v.foreground_move(index=2, step=1) == {"CANCELLED"}
    saved.ops.layert2v.foreground_remove(index=2)

    assert [foreground.prompt for foreground in foregrounds] == ["two", "one"]


def test_choosing_a_model_goes_back_to_its_defaults(saved):
    shot = saved.context.scene.layert2v
    saved.ops.layert2v.set_size(width=48, height=32)
    saved.ops.layert2v.set_frames(num_frames=5)
    assert (shot.width, shot.height, shot.num_frames) == (48, 32, 5)

    saved.ops.layert2v.set_model(model="tiny")

    assert (shot.model, shot.width, shot.height, shot.num_frames) == ("tiny", 0, 0, 0)


def test_a_random_seed_is_new_each_time_and_remembered(saved, backend):
    fill_shot(saved, "a red ball")
    shot = saved.context.scene.layert2v
    shot.is_seed_random = True
    for _ in range(2):
        saved.ops.layert2v.generate()
        wait_for_settled()

    seeds = [request.shot.seed for request in backend.script.create_requests]

    assert len(set(seeds)) == 2
    assert shot.seed == str(seeds[-1])


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_seed_of_a_shot_has_63_bits_as_on_the_wire(saved, backend, seed):
    generate(saved, "a red ball", seed=f" {seed} ")

    (request,) = backend.script.create_requests
    assert request.shot.seed == seed
    assert saved.context.scene.layert2v.seed == str(seed)


def test_a_seed_left_empty_is_drawn_and_written_into_the_form(saved, backend):
    generate(saved, "a red ball", seed="")

    (request,) = backend.script.create_requests
    assert saved.context.scene.layert2v.seed == str(request.shot.seed)


def test_a_seed_that_is_none_is_told_and_nothing_is_sent(saved, backend):
    fill_shot(saved, "a red ball", seed="9223372036854775808")

    with pytest.raises(RuntimeError, match="no whole number from 0 to 9223372036854775807"):
        saved.ops.layert2v.generate()

    assert not backend.script.create_requests


def test_the_scene_is_matched_to_the_selected_take_or_the_next_shot(saved, backend):
    scene = saved.context.scene
    scene.frame_set(30)
    generate(saved, "a red ball")
    scene.render.resolution_x, scene.render.fps = 1920, 24
    saved.ops.layert2v.set_size(width=48, height=32)

    select(saved, strip_named(saved, "Background"))
    saved.ops.layert2v.match_scene(with_range=True)
    assert (scene.render.resolution_x, scene.render.fps) == (96, 8)
    assert (scene.frame_start, scene.frame_end) == (30, 38)

    scene.sequence_editor.active_strip = None
    saved.ops.layert2v.match_scene()
    assert (scene.render.resolution_x, scene.render.resolution_y) == (48, 32)


def test_a_shot_of_another_size_than_the_scene_keeps_its_layers_registered(
    saved, backend, tmp_path
):
    saved.ops.layert2v.set_size(width=48, height=32)

    generate(saved, "a red ball")

    files = backend.jobs["jobs/job0001"].files
    full = pictures.read_png(files["full/png/full_0005.png"].data)
    rendered = render_frame(saved, 5, tmp_path)
    assert rendered.shape[:2] == (64, 96)
    centre = rendered[8:-8:2, 8:-8:2].astype(int) - full[4:-4, 4:-4].astype(int)
    assert abs(centre).mean() < 6


def test_a_failed_request_can_be_tried_again_and_dismissed(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.refusals["CreateJob"].extend(
        [invalid_shot("shot.width", "97"), invalid_shot("shot.width", "97")]
    )
    generate(saved, "a red ball")
    saved.ops.layert2v.retry()
    wait_for_settled()
    assert len(runtime.board.failed) == 1

    saved.ops.layert2v.retry()
    wait_for_settled()
    assert strip_named(saved, "Background")

    backend.script.refusals["CreateJob"].append(invalid_shot("shot.width", "97"))
    generate(saved, "a red ball")
    saved.ops.layert2v.dismiss()
    assert not runtime.board.failed
    assert saved.ops.layert2v.dismiss() == {"CANCELLED"}


def test_a_layer_that_has_lost_a_file_is_told_and_repaired_by_regenerating(saved, backend):
    generate(saved, "a red ball")
    strip = strip_named(saved, "Foreground 1")
    folder = Path(saved.path.abspath(strip.directory))
    (folder / "foreground_1_0002.png").unlink()
    select(saved, strip)

    with pytest.raises(RuntimeError, match=r"has lost 'foreground_1/png/foreground_1_0002\.png'"):
        saved.ops.layert2v.show_format(format="png")
    saved.ops.layert2v.regenerate()
    wait_for_settled()

    assert strip_named(saved, "Foreground 1")["layert2v"]["take"] == 2


def test_a_full_timeline_is_told_and_the_take_stays(saved, backend):
    from blender_addon import compat
    from blender_addon.scene.runtime import runtime

    generate(saved, "a red ball")
    source = strip_named(saved, "Background")
    path = saved.path.abspath(source.directory) + source.elements[0].filename
    strips = compat.strips(saved.context.scene.sequence_editor)
    for channel in range(5, 129, 2):
        strips.new_image(f"filler {channel}", path, channel, 1)

    generate(saved, "a blue ball")

    (view,) = runtime.board.failed
    assert "Move some strips" in view.record.error
    assert (Path(view.journal_folder) / view.record.take_folder / "take.json").is_file()


@pytest.mark.parametrize(("address", "sentence"), [("nonsense", "has no host and port")])
def test_an_address_that_makes_no_sense_is_refused(bpy, address, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.layert2v.connect(address=address)


def test_a_local_backend_is_started_and_stopped(bpy, backend, tmp_path):
    from blender_addon.core.launcher import LaunchState
    from blender_addon.scene.runtime import runtime

    script = tmp_path / "backend.py"
    script.write_text(SERVES)
    bpy.ops.layert2v.backend_start(command=f"{sys.executable} {script}", address=backend.address)
    pump_until(lambda: runtime.launcher.state is LaunchState.SERVING, "the backend")
    pump_until(lambda: bool(runtime.board.models), "the models")

    bpy.ops.layert2v.backend_stop()

    pump_until(lambda: runtime.launcher.state is LaunchState.STOPPED, "the end")
    bpy.ops.layert2v.backend_log()
    assert "LayerT2V backend log" in bpy.data.texts


def test_a_backend_elsewhere_cannot_be_started_from_here(bpy):
    with pytest.raises(RuntimeError, match="not on this computer"):
        bpy.ops.layert2v.backend_start(command=sys.executable, address="example.org:1")


def test_a_shot_is_shown_from_its_exr_masters_and_back(saved, backend, tmp_path):
    media = pytest.importorskip("layert2v_model.files.media", reason="writes EXR")
    from blender_addon.core.takes import TakeFile
    from blender_addon.scene import strips
    from layert2v_client import ArtifactFormat

    generate(saved, "a red ball", "a blue ball")
    select(saved, strip_named(saved, "Foreground 1"))
    with pytest.raises(RuntimeError, match="holds no exr"):
        saved.ops.layert2v.show_format(format="exr")
    before = render_frame(saved, 5, tmp_path)
    take = strips.take_of(strip_named(saved, "Foreground 1"))
    masters = [write_master(media, take, file) for file in take.files if is_colour(file)]
    replace(take, files=(*take.files, *(TakeFile(**each) for each in masters))).save()

    saved.ops.layert2v.show_format(format="exr")

    strip = strip_named(saved, "Foreground 1")
    assert (strip.alpha_mode, strip.colorspace_settings.name) == ("PREMUL", "Linear Rec.709")
    assert strip_named(saved, "Matte 1").alpha_mode == "STRAIGHT"
    assert largest_difference(render_frame(saved, 5, tmp_path), before) <= 2
    saved.ops.layert2v.show_format(format="png")
    assert largest_difference(render_frame(saved, 5, tmp_path), before) == 0
    assert ArtifactFormat(strip_named(saved, "Full")["layert2v"]["format"]) is ArtifactFormat.PNG


def is_colour(file):
    return file.format == "png" and file.kind != "matte"


def write_master(media, take, file):
    """Write a frame's EXR beside its PNG; give what `TakeFile` needs."""
    path = file.path.replace("/png/", "/exr/").replace(".png", ".exr")
    pixels = pictures.read_png((take.folder / file.path).read_bytes()).astype("float32") / 255
    (take.folder / path).parent.mkdir(exist_ok=True)
    media.write_exr(
        take.folder / path, pixels[..., :3], pixels[..., 3] if pixels.shape[2] > 3 else None
    )
    return {**vars(file), "path": path, "format": type(file.format)("exr"), "sha256": ""}


def test_chosen_words_are_written_into_their_prompt_and_shown_at_once(saved, backend, monkeypatch):
    from blender_addon import compat
    from blender_addon.scene.runtime import runtime

    drawn = []
    monkeypatch.setattr(compat, "redraw_sequencers", lambda: drawn.append("again"))
    backend.script.vocabulary = system_pb2.Vocabulary(
        foregrounds=["a fox"], backgrounds=["a beach"], motions=["rising"]
    )
    runtime.session.probe()
    pump_until(lambda: runtime.board.models[0].vocabulary is not None, "the vocabulary")
    fill_shot(saved, "one", "two", background="three")
    shot = saved.context.scene.layert2v

    drawn.clear()
    saved.ops.layert2v.use_words(layer_index=2, words="a fox")
    assert drawn == ["again"]
    saved.ops.layert2v.use_words(layer_index=2, words="rising")
    saved.ops.layert2v.use_words(layer_index=0, words="a beach")

    assert [foreground.prompt for foreground in shot.foregrounds] == ["one", "a fox rising"]
    assert shot.background == "a beach"
    assert saved.ops.layert2v.use_words(layer_index=3, words="a fox") == {"CANCELLED"}
