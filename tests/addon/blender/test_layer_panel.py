import types

from support.blender_session import (
    generate,
    select,
    strip_named,
)
from support.checked_layout import CheckedLayout, draw, drawn_layout


def test_the_layer_panel_shows_the_recipe_of_the_selected_strip(saved):
    generate(saved, "a red ball", seed=41)
    select(saved, strip_named(saved, "Foreground 1"))

    notes = draw(saved, "LAYERT2V_PT_layer")

    assert notes[:3] == ["Foreground 1, take 1", "a red ball", "Seed 41, model tiny"]
    assert notes.count("layert2v.regenerate") == 2
    assert saved.types.LAYERT2V_PT_layer.poll(saved.context)


def test_a_strip_of_an_earlier_version_says_nothing_of_missing_frames(saved):
    generate(saved, "a red ball")
    strip = strip_named(saved, "Foreground 1")
    del strip["layert2v"]["notice"]
    select(saved, strip)

    assert draw(saved, "LAYERT2V_PT_layer")[0] == "Foreground 1, take 1"


def test_panels_keep_their_places(saved):
    names = ("shot", "layer", "jobs", "connection")
    panels = [getattr(saved.types, f"LAYERT2V_PT_{name}") for name in names]

    assert [panel.bl_order for panel in panels] == [0, 1, 2, 3]
    assert "poll" not in vars(saved.types.LAYERT2V_PT_jobs)


def test_what_changes_the_whole_scene_asks_first_and_a_new_seed_does_not(saved):
    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Background"))

    layout = drawn_layout(saved, "LAYERT2V_PT_layer")

    assert "layert2v.match_scene" in layout.asking
    assert layout.notes.count("layert2v.regenerate") == 2
    assert layout.context == "INVOKE_REGION_WIN"


def test_takes_on_disk_are_found_in_the_add_menu(saved):
    from blender_addon.ui import menus

    layout = CheckedLayout(saved)
    stand_in = types.SimpleNamespace(layout=layout)
    menus.draw_in_add_menu(stand_in, saved.context)
    menus.draw_in_strip_menu(stand_in, saved.context)

    assert layout.notes == ["layert2v.import_take", "layert2v.match_scene"]
