import numpy as np
import pytest

from support import pictures
from support.blender_session import (
    connect,
    fill_shot,
    generate,
    largest_difference,
    render_frame,
    strip_named,
    wait_for_settled,
)


def full_of(backend, job, frame):
    """The flattened stack of a fake job, as numpy composites it."""
    files = backend.jobs[job].files
    layers = [pictures.read_png(files[f"background/png/background_{frame:04d}.png"].data)]
    k = 1
    while (path := f"foreground_{k}/png/foreground_{k}_{frame:04d}.png") in files:
        layers.append(pictures.read_png(files[path].data))
        k += 1
    return pictures.flatten(layers[0], layers[1:])


def test_a_shot_becomes_strips_in_stack_order(saved, backend):
    saved.context.scene.frame_set(12)

    generate(saved, "a red ball", "a blue ball")

    from blender_addon import compat

    strips = sorted(compat.all_strips(saved.context.scene), key=lambda strip: strip.channel)
    rows = [(s.name, s.channel, s.mute, compat.span(s)) for s in strips]
    assert rows == [
        ("Background", 1, False, (12, 21)),
        ("Foreground 1", 2, False, (12, 21)),
        ("Foreground 2", 3, False, (12, 21)),
        ("Matte 1", 4, True, (12, 21)),
        ("Matte 2", 5, True, (12, 21)),
        ("Full", 6, True, (12, 21)),
    ]
    for strip in strips:
        assert strip.blend_type == "ALPHA_OVER"
        assert strip.alpha_mode == "STRAIGHT"
        assert strip.colorspace_settings.name == "sRGB"
        assert strip.directory.startswith("//layert2v")


def test_a_strip_says_how_it_was_made(saved, backend):
    generate(saved, "a red ball", "a blue ball", seed=41)

    stored = strip_named(saved, "Foreground 2")["layert2v"]

    assert stored["job"] == "jobs/job0001"
    assert (stored["take"], stored["layer"], stored["role"]) == (1, 2, "foreground")
    assert (stored["prompt"], stored["seed"], stored["model"]) == ("a blue ball", 41, "tiny")


def test_blenders_render_equals_the_flattened_stack(saved, backend, tmp_path):
    generate(saved, "a red ball", "a blue ball")

    worst = max(
        largest_difference(
            render_frame(saved, frame, tmp_path), full_of(backend, "jobs/job0001", frame)
        )
        for frame in (1, 5, 9)
    )

    assert worst <= 2


@pytest.mark.parametrize("mistake", ["premultiplied", "view", "colour space"])
def test_a_wrong_setting_is_seen_in_the_render(saved, backend, tmp_path, mistake):
    generate(saved, "a red ball")
    if mistake == "premultiplied":
        strip_named(saved, "Foreground 1").alpha_mode = "PREMUL"
    elif mistake == "view":
        saved.context.scene.view_settings.view_transform = "AgX"
    else:
        strip_named(saved, "Foreground 1").colorspace_settings.name = "Linear Rec.709"

    wrong = render_frame(saved, 5, tmp_path)

    assert largest_difference(wrong, full_of(backend, "jobs/job0001", 5)) > 20


def test_mattes_and_full_show_what_their_names_say(saved, backend, tmp_path):
    generate(saved, "a red ball", "a blue ball")
    files = backend.jobs["jobs/job0001"].files
    for name in ("Background", "Foreground 1", "Foreground 2"):
        strip_named(saved, name).mute = True

    strip_named(saved, "Matte 2").mute = False
    matte = render_frame(saved, 3, tmp_path)
    strip_named(saved, "Matte 2").mute = True
    strip_named(saved, "Full").mute = False
    full = render_frame(saved, 3, tmp_path)

    expected = pictures.read_png(files["matte_2/png/matte_2_0003.png"].data)
    assert largest_difference(matte, np.repeat(expected, 3, axis=2)) <= 2
    expected = pictures.read_png(files["full/png/full_0003.png"].data)
    assert largest_difference(full, expected) <= 2


def test_a_second_shot_goes_above_the_first(saved, backend):
    generate(saved, "a red ball")
    generate(saved, "a blue ball")

    from blender_addon import compat

    channels = sorted(strip.channel for strip in compat.all_strips(saved.context.scene))
    assert channels == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_scene_of_another_rate_repeats_frames(saved, backend, tmp_path):
    saved.context.scene.render.fps = 24

    generate(saved, "a red ball")

    strip = strip_named(saved, "Foreground 1")
    assert len(strip.elements) == 27
    assert [element.filename[-6] for element in strip.elements[:4]] == ["0", "0", "0", "0"]
    difference = largest_difference(
        render_frame(saved, 26, tmp_path), full_of(backend, "jobs/job0001", 9)
    )
    assert difference <= 2


def test_an_unsaved_file_keeps_its_media_in_the_users_folder(bpy, backend, tmp_path):
    connect(bpy, backend.address)

    generate(bpy, "a red ball")

    assert strip_named(bpy, "Background").directory.startswith(str(tmp_path / "unsaved"))


def test_generate_returns_before_the_backend_has_done_anything(saved, backend):
    backend.script.hold = True
    fill_shot(saved, "a red ball")

    assert saved.ops.layert2v.generate() == {"FINISHED"}
    from blender_addon.scene.runtime import runtime

    assert [view.caption for view in runtime.board.active] == ["waiting for the backend"]


@pytest.mark.parametrize(
    ("background", "foregrounds", "sentence"),
    [
        ("", ("a ball",), "prompt of background is empty"),
        ("a beach", (), "no foreground. Add at least one"),
        ("a beach", ("",), "prompt of foreground 1 is empty"),
        ("x" * 301, ("a ball",), "301 characters.*reads 300. Shorten it"),
    ],
)
def test_a_shot_that_cannot_be_made_is_refused_at_once(saved, background, foregrounds, sentence):
    fill_shot(saved, *foregrounds, background=background)

    with pytest.raises(RuntimeError, match=sentence):
        saved.ops.layert2v.generate()


def test_a_size_the_model_does_not_make_is_refused_with_its_sizes(saved):
    fill_shot(saved, "a ball")
    saved.ops.layert2v.set_size(width=97, height=64)

    with pytest.raises(RuntimeError, match=r"97 x 64. Choose 96 x 64, 48 x 32"):
        saved.ops.layert2v.generate()


def test_without_a_backend_generate_says_what_to_do(saved, backend):
    from blender_addon.scene.runtime import runtime
    from support.blender_session import pump_until

    backend.stop()
    runtime.session.probe()
    pump_until(lambda: runtime.board.is_up is False, "the lost link")
    fill_shot(saved, "a ball")

    with pytest.raises(RuntimeError, match=r"No backend answers at 127.*Start the backend"):
        saved.ops.layert2v.generate()


def test_a_shot_the_backend_refuses_shows_its_sentence(saved, backend):
    from blender_addon.scene.runtime import runtime
    from support.fake_backend import invalid_shot

    backend.script.refusals["CreateJob"].append(
        invalid_shot("shot.layers[1].prompt", "The prompt is rude: be kind.")
    )
    generate(saved, "a ball")

    (view,) = runtime.board.failed
    assert "shot.layers[1].prompt: The prompt is rude: be kind." in view.record.error
    assert view.record.remedy


def test_a_cancelled_job_imports_nothing(saved, backend):
    from blender_addon import compat
    from blender_addon.scene.runtime import runtime
    from support.blender_session import pump_until

    backend.script.hold = True
    fill_shot(saved, "a ball")
    saved.ops.layert2v.generate()
    pump_until(
        lambda: bool(runtime.board.active) and runtime.board.active[0].progress is not None,
        "progress",
    )
    assert "denoising 2/2" in runtime.board.active[0].caption

    saved.ops.layert2v.cancel()
    wait_for_settled()

    assert not compat.all_strips(saved.context.scene)
    assert [view.record.state for view in runtime.board.jobs.values()] == ["cancelled"]


def test_a_held_pump_waits_with_the_import(saved, backend, monkeypatch):
    from blender_addon import compat
    from blender_addon.scene.runtime import runtime
    from support.blender_session import pump_until

    monkeypatch.setattr(compat, "is_user_dragging", lambda: True)
    fill_shot(saved, "a ball")
    saved.ops.layert2v.generate()
    pump_until(lambda: bool(runtime.board.ready), "the take")
    assert not compat.all_strips(saved.context.scene)

    monkeypatch.setattr(compat, "is_user_dragging", lambda: False)
    wait_for_settled()

    assert len(compat.all_strips(saved.context.scene)) == 4
