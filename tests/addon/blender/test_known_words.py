import types

from layert2v.v1 import job_pb2, system_pb2
from support.blender_session import (
    fill_shot,
    generate,
    pump_until,
    select,
    strip_named,
)
from support.checked_layout import CheckedLayout, draw

VOCABULARY = system_pb2.Vocabulary(
    foregrounds=["a soccer ball", "a fox"],
    backgrounds=["a castle over a river", "a beach"],
    motions=["bouncing", "standing still"],
    cameras=["the camera pans left"],
)
NO_DRAGON = 'tiny knows no "dragon"; it knows a fox, a soccer ball'


def teach(bpy, backend):
    """Give the model a vocabulary and wait until the add-on has it."""
    from blender_addon.scene.runtime import runtime

    backend.script.vocabulary = VOCABULARY
    runtime.session.probe()
    pump_until(lambda: runtime.board.models[0].vocabulary is not None, "the vocabulary")


def draw_offered(bpy, layer_index):
    """Draw what the button beside a prompt opens; give its operators and texts."""
    from blender_addon.scene.runtime import runtime
    from blender_addon.ui.words import draw_words

    layout = CheckedLayout(bpy)
    draw_words(layout, runtime.board.model(""), layer_index)
    return layout.notes


def test_prompts_whose_words_the_model_knows_not_are_marked_with_the_nearest(saved, backend):
    teach(saved, backend)
    fill_shot(saved, "a fox standing still", "a dragon", background="An old castle on a hill")

    told = " ".join(draw(saved, "LAYERT2V_PT_shot"))

    assert 'tiny knows no "old castle on a hill"; nearest: a castle over a river' in told
    assert NO_DRAGON in told
    assert "fox standing" not in told
    assert told.count("layert2v.offer_words") == 3


def test_the_full_picture_is_marked_when_it_names_nothing_known(saved, backend):
    teach(saved, backend)
    fill_shot(saved, "a fox")
    saved.context.scene.layert2v.prompt = "an epic battle"

    assert 'tiny knows no "epic battle"' in " ".join(draw(saved, "LAYERT2V_PT_shot"))


def test_a_model_that_knows_any_word_offers_and_marks_nothing(saved):
    fill_shot(saved, "a dragon")

    told = " ".join(draw(saved, "LAYERT2V_PT_shot"))

    assert "knows" not in told
    assert "layert2v.offer_words" not in told


def test_nothing_is_offered_before_there_is_a_connection(bpy):
    fill_shot(bpy, "a dragon")

    assert "layert2v.offer_words" not in draw(bpy, "LAYERT2V_PT_shot")


def test_a_prompts_menu_lists_the_known_words_in_alphabetical_order(saved, backend):
    teach(saved, backend)

    words = [note for note in draw_offered(saved, 1) if note != "layert2v.use_words"]
    places = [note for note in draw_offered(saved, 0) if note != "layert2v.use_words"]

    assert words == ["a fox", "a soccer ball", "bouncing", "standing still"]
    assert places == ["a beach", "a castle over a river", "the camera pans left"]


def test_a_menu_of_several_columns_lists_every_word_once(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.vocabulary = system_pb2.Vocabulary(
        foregrounds=[f"a thing {number:02}" for number in range(40)], backgrounds=["a beach"]
    )
    runtime.session.probe()
    pump_until(lambda: runtime.board.models[0].vocabulary is not None, "the vocabulary")

    drawn = draw_offered(saved, 1)

    assert [note for note in drawn if note.startswith("a thing")] == [
        f"a thing {number:02}" for number in range(40)
    ]


def test_the_regenerate_dialog_marks_its_prompts_and_suggests_words(saved, backend):
    from blender_addon.ui.words import suggest_words

    teach(saved, backend)
    generate(saved, "a fox")
    select(saved, strip_named(saved, "Foreground 1"))

    told = " ".join(
        draw(saved, "LAYERT2V_OT_regenerate", prompt="a dragon", full_prompt="", seed=-1)
    )

    assert NO_DRAGON in told
    assert suggest_words(None, saved.context, "") == ["a fox", "a soccer ball"]
    select(saved, strip_named(saved, "Background"))
    assert suggest_words(None, saved.context, "") == ["a beach", "a castle over a river"]


def test_the_regenerate_dialog_names_what_its_button_does(saved, backend):
    from blender_addon.ui.shot_operators import LAYERT2V_OT_regenerate

    generate(saved, "a fox")
    select(saved, strip_named(saved, "Foreground 1"))
    asked = {}
    context = types.SimpleNamespace(
        scene=saved.context.scene,
        workspace=saved.context.workspace,
        window_manager=types.SimpleNamespace(
            invoke_props_dialog=lambda operator, **named: asked.update(named, it=operator.prompt)
        ),
    )

    LAYERT2V_OT_regenerate.invoke(types.SimpleNamespace(prompt=""), context, None)

    functions = saved.types.WindowManager.bl_rna.functions
    assert set(asked) - {"it"} <= set(functions["invoke_props_dialog"].parameters.keys())
    assert (asked["it"], asked["confirm_text"]) == ("a fox", "Regenerate")


def test_words_are_suggested_for_generated_strips_only(saved):
    from blender_addon.ui.words import suggest_words

    assert suggest_words(None, saved.context, "") == []


def test_what_the_model_did_not_know_is_told_when_the_take_arrives_and_kept(saved, backend):
    backend.script.empty_frames = [9]
    backend.script.unknown_words.append(
        job_pb2.UnknownWords(layer_index=1, words="dragon", message=NO_DRAGON)
    )
    generate(saved, "a dragon")

    notes = draw(saved, "LAYERT2V_PT_jobs")
    told = " ".join(notes)

    assert f"Foreground 1: {NO_DRAGON}." in told
    assert "Foreground 1 is empty in take 1" in told
    select(saved, strip_named(saved, "Foreground 1"))
    told = " ".join(draw(saved, "LAYERT2V_PT_layer"))
    assert f"{NO_DRAGON}." in told
    assert "is empty in all 9 frames" in told
    select(saved, strip_named(saved, "Background"))
    assert "knows" not in " ".join(draw(saved, "LAYERT2V_PT_layer"))
