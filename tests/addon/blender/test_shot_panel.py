import types

from support.blender_session import (
    fill_shot,
)
from support.checked_layout import draw


def test_the_shot_panel_shows_prompts_limits_and_generate(saved):
    fill_shot(saved, "a red ball", "a blue ball")

    notes = draw(saved, "LAYERT2V_PT_shot")

    assert "96 x 64" in notes
    assert "9 frames at 8 fps" in notes
    assert notes.count("layert2v.foreground_move") == 4
    assert "layert2v.generate" in notes
    assert "layert2v.set_view_transform" not in notes


def test_the_shot_panel_says_that_a_seed_is_none_unless_it_is_drawn(saved):
    fill_shot(saved, "a red ball", seed="twelve")

    assert "The seed 'twelve' is no whole number" in " ".join(draw(saved, "LAYERT2V_PT_shot"))

    saved.context.scene.layert2v.is_seed_random = True
    assert "twelve" not in " ".join(draw(saved, "LAYERT2V_PT_shot"))


def test_the_shot_panel_warns_of_a_view_that_changes_colours_and_offers_the_remedy(saved):
    saved.context.scene.view_settings.view_transform = "AgX"

    notes = draw(saved, "LAYERT2V_PT_shot")

    assert any("View transform AgX" in note for note in notes)
    assert "layert2v.set_view_transform" in notes


def test_menus_list_what_the_model_offers(saved):
    draw(saved, "LAYERT2V_MT_size")
    draw(saved, "LAYERT2V_MT_frames")

    assert draw(saved, "LAYERT2V_MT_model") == ["layert2v.set_model"]


def test_the_shot_panel_has_nothing_that_changes_the_scene_beside_generate(saved):
    fill_shot(saved, "a red ball")

    assert "layert2v.match_scene" not in draw(saved, "LAYERT2V_PT_shot")


def test_an_equal_shot_within_a_second_is_a_question(saved, backend, monkeypatch):
    from blender_addon.scene import requests

    fill_shot(saved, "a red ball")
    assert not requests.is_repeated(saved.context.scene)
    saved.ops.layert2v.generate()
    sent_at = requests.runtime.last_sent[0]
    monkeypatch.setattr(requests, "time", types.SimpleNamespace(monotonic=lambda: sent_at + 0.5))

    assert requests.is_repeated(saved.context.scene)
    saved.context.scene.layert2v.foregrounds[0].prompt = "a blue ball"
    assert not requests.is_repeated(saved.context.scene)
    saved.context.scene.layert2v.foregrounds[0].prompt = "a red ball"
    monkeypatch.setattr(requests, "time", types.SimpleNamespace(monotonic=lambda: sent_at + 1.5))
    assert not requests.is_repeated(saved.context.scene)
