"""Panels cannot be drawn without a window: they are drawn into a layout that checks each call
against what this Blender's real layout knows."""

import sys
import types

from layert2v.v1 import job_pb2, system_pb2
from support.blender_session import (
    fill_shot,
    generate,
    pump_until,
    select,
    strip_named,
    wait_for_settled,
)
from support.fake_backend import invalid_shot

NO_JOBS = ["No jobs", "layert2v.import_take"]


class CheckedLayout:
    """Knows the functions and parameters of Blender's layout and notes labels and operators.

    As in Blender, all layouts of a panel share one `operator_context`, and a sentence beside
    buttons is cut.
    """

    def __init__(self, bpy, root=None, kind=""):
        self.__dict__.update(bpy=bpy, root=root or self, kind=kind, beside=set())
        if root is None:
            self.__dict__.update(notes=[], asking=set(), context="INVOKE_REGION_WIN")
        self.__dict__["notes"] = self.root.notes

    def __getattr__(self, name):
        functions = self.bpy.types.UILayout.bl_rna.functions
        assert name in functions, f"UILayout has no {name}"
        known = set(functions[name].parameters.keys())

        def call(*arguments, **named):
            unknown = set(named) - known
            assert not unknown, f"UILayout.{name} has no {unknown}"
            return self._note(name, arguments, named)

        return call

    def __setattr__(self, name, value):
        assert name in self.bpy.types.UILayout.bl_rna.properties, f"UILayout has no {name}"
        if name == "operator_context":
            self.root.__dict__["context"] = value

    def _note(self, name, arguments, named):
        self.beside.add(name)
        assert self.kind != "row" or not {"label", "operator"} <= self.beside, arguments or named
        if name == "operator":
            module, _, operator = arguments[0].partition(".")
            properties = getattr(getattr(self.bpy.ops, module), operator).get_rna_type().properties
            self.notes.append(arguments[0])
            if self.root.context.startswith("INVOKE"):
                self.root.asking.add(arguments[0])
            if arguments[0] == "layert2v.use_words":
                self.notes.append(named["text"])
            return CheckedOperator(set(properties.keys()))
        if name == "prop":
            assert arguments[1] in arguments[0].bl_rna.properties
        if name in ("menu", "label", "progress"):
            self.notes.append(named.get("text", ""))
        return CheckedLayout(self.bpy, self.root, name)


class CheckedOperator:
    def __init__(self, known):
        self.__dict__["known"] = known

    def __setattr__(self, name, value):
        assert name in self.known, f"the operator has no {name}"


def draw(bpy, name, **fields):
    """Draw a panel, menu, dialog (its `fields` given) or the preferences; labels and operators."""
    return drawn_layout(bpy, name, **fields).notes


def drawn_layout(bpy, name, **fields):
    """Draw it; the layout with its notes, and the operators that ask first (`asking`)."""
    from blender_addon.ui import preferences

    drawn = (
        preferences.LAYERT2V_AP_preferences if name == "preferences" else getattr(bpy.types, name)
    )
    methods = {
        key: value
        for each in reversed(drawn.__mro__)
        for key, value in vars(each).items()
        if isinstance(value, types.FunctionType | staticmethod) and not key.startswith("__")
    }
    rna = drawn.bl_rna
    if "_OT_" in name:
        rna = getattr(bpy.ops.layert2v, name.partition("_OT_")[2]).get_rna_type()
    stand_in = type(name, (), {**methods, **fields, "bl_rna": rna})()
    stand_in.layout = CheckedLayout(bpy)
    stand_in.draw(bpy.context)
    return stand_in.layout


def test_the_backend_panel_shows_the_link_and_its_version(saved):
    notes = draw(saved, "LAYERT2V_PT_connection")

    assert "Connected, version 0.1.0" in notes
    assert "layert2v.backend_start" not in notes


def test_the_backend_panel_says_why_there_is_no_link(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.stop()
    runtime.session.probe()
    pump_until(lambda: runtime.board.is_up is False, "the lost link")

    assert "Start the backend or correct its" in " ".join(draw(saved, "LAYERT2V_PT_connection"))


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


def test_a_running_job_shows_progress_and_cancel(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.hold = True
    fill_shot(saved, "a red ball")
    saved.ops.layert2v.generate()
    pump_until(
        lambda: any(view.progress and view.progress.step == 2 for view in runtime.board.active),
        "progress",
    )

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "denoising 2/2, 1 s left" in notes
    assert "layert2v.cancel" in notes


def test_a_failed_job_shows_its_sentence_and_what_to_do(saved, backend):
    backend.script.refusals["CreateJob"].append(invalid_shot("shot.width", "97: choose 96."))
    generate(saved, "a red ball")

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "shot.width: 97: choose 96." in notes
    assert "layert2v.retry" in notes


def test_the_layer_panel_shows_the_recipe_of_the_selected_strip(saved):
    generate(saved, "a red ball", seed=41)
    select(saved, strip_named(saved, "Foreground 1"))

    notes = draw(saved, "LAYERT2V_PT_layer")

    assert notes[:3] == ["Foreground 1, take 1", "a red ball", "Seed 41, model tiny"]
    assert notes.count("layert2v.regenerate") == 2
    assert saved.types.LAYERT2V_PT_layer.poll(saved.context)


def test_the_preferences_can_be_drawn(saved):
    draw(saved, "preferences")


def test_an_empty_foreground_is_told_when_it_arrives_until_dismissed(saved, backend):
    backend.script.empty_frames = [0, 9]
    generate(saved, "a red ball", "a blue ball")

    notes = draw(saved, "LAYERT2V_PT_jobs")
    told = " ".join(notes)
    saved.ops.layert2v.dismiss()

    assert "Foreground 2 is empty in take 1" in told
    assert "Foreground 1" not in told
    assert draw(saved, "LAYERT2V_PT_jobs") == NO_JOBS
    select(saved, strip_named(saved, "Foreground 2"))
    assert "Empty in all 9 frames" in " ".join(draw(saved, "LAYERT2V_PT_layer"))


def test_a_foreground_that_comes_late_is_told_with_its_layer_only(saved, backend):
    backend.script.empty_frames = [6]
    generate(saved, "a red ball")

    assert draw(saved, "LAYERT2V_PT_jobs") == NO_JOBS
    select(saved, strip_named(saved, "Foreground 1"))
    assert "Not there in 6 of 9 frames." in draw(saved, "LAYERT2V_PT_layer")


def test_a_strip_of_an_earlier_version_says_nothing_of_missing_frames(saved):
    generate(saved, "a red ball")
    strip = strip_named(saved, "Foreground 1")
    del strip["layert2v"]["notice"]
    select(saved, strip)

    assert draw(saved, "LAYERT2V_PT_layer")[0] == "Foreground 1, take 1"


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
    from blender_addon.ui.job_operators import LAYERT2V_OT_regenerate

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
    assert "Empty in all 9 frames" in told
    select(saved, strip_named(saved, "Background"))
    assert "knows" not in " ".join(draw(saved, "LAYERT2V_PT_layer"))


def lose_link(backend):
    from blender_addon.scene.runtime import runtime

    backend.stop()
    runtime.session.probe()
    pump_until(lambda: runtime.board.is_up is False, "the lost link")


def begin(bpy, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.hold = True
    fill_shot(bpy, "a red ball")
    bpy.ops.layert2v.generate()
    pump_until(lambda: any(view.progress for view in runtime.board.active), "progress")


def test_a_job_whose_backend_is_gone_says_that_it_waits_and_offers_to_start_one(saved, backend):
    begin(saved, backend)
    lose_link(backend)

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "Waiting for the backend" in notes
    assert "layert2v.backend_start" in notes
    assert not any("denoising" in note for note in notes)


def test_a_row_names_the_layer_as_the_layer_panel_does(saved, backend):
    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Foreground 1"))
    backend.script.fail_with = job_pb2.JobError(reason="X", message="A fault.")
    saved.ops.layert2v.regenerate()
    wait_for_settled()

    assert "Foreground 1: a red ball" in draw(saved, "LAYERT2V_PT_jobs")


def test_a_cancel_that_is_not_heard_yet_can_be_dismissed_from_its_row(saved, backend):
    from blender_addon.scene.runtime import runtime

    begin(saved, backend)
    lose_link(backend)
    saved.ops.layert2v.cancel()
    pump_until(lambda: runtime.board.active[0].record.is_cancel_pending, "the promise")

    notes = draw(saved, "LAYERT2V_PT_jobs")
    assert "Cancelled once the backend answers" in notes
    assert "layert2v.dismiss" in notes
    assert "layert2v.cancel" not in notes
    saved.ops.layert2v.dismiss()
    assert draw(saved, "LAYERT2V_PT_jobs") == NO_JOBS


def test_a_waiting_take_says_why_and_offers_import_and_dismissal(saved, backend):
    from blender_addon import compat
    from blender_addon.scene.runtime import runtime

    generate(saved, "a red ball")
    select(saved, strip_named(saved, "Foreground 1"))
    saved.ops.layert2v.regenerate(prompt="a green ball")
    compat.strips(saved.context.scene.sequence_editor).remove(strip_named(saved, "Foreground 1"))
    pump_until(lambda: any(view.waiting for view in runtime.board.ready), "the take")

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert "The strips of foreground 1 were deleted" in " ".join(notes)
    assert "layert2v.import_now" in notes
    assert "layert2v.dismiss" in notes


def test_a_take_of_another_file_is_named_with_its_file_and_prompt(saved, backend, tmp_path):
    from blender_addon.scene.runtime import runtime

    begin(saved, backend)
    saved.ops.wm.read_homefile(use_empty=True)
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))
    backend.finish()
    pump_until(lambda: any(view.waiting for view in runtime.board.ready), "the take")

    told = " ".join(draw(saved, "LAYERT2V_PT_jobs"))

    assert "a red ball" in told
    assert "edit.blend" in told
    assert "layert2v.import_now" not in told


def test_a_running_job_of_another_file_is_named_with_its_file(saved, backend):
    begin(saved, backend)
    assert not any("edit.blend" in note for note in draw(saved, "LAYERT2V_PT_jobs"))

    saved.ops.wm.read_homefile(use_empty=True)

    assert "For edit.blend" in draw(saved, "LAYERT2V_PT_jobs")
    backend.finish()


def test_a_failed_job_of_another_file_is_only_counted(saved, backend, tmp_path):
    backend.script.refusals["CreateJob"].append(invalid_shot("shot.width", "97: choose 96."))
    generate(saved, "a red ball")
    saved.ops.wm.read_homefile(use_empty=True)
    saved.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))

    notes = draw(saved, "LAYERT2V_PT_jobs")

    assert notes[0] == "1 failed in other files"
    assert "layert2v.retry" not in notes


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


def test_the_shot_panel_has_nothing_that_changes_the_scene_beside_generate(saved):
    fill_shot(saved, "a red ball")

    assert "layert2v.match_scene" not in draw(saved, "LAYERT2V_PT_shot")


def test_a_model_that_is_denoising_is_loaded(saved, backend):
    from blender_addon.scene.runtime import runtime

    backend.script.is_model_loaded = False
    runtime.session.probe()
    pump_until(lambda: not runtime.board.info.is_model_loaded, "the news")
    assert "model not loaded yet" in draw(saved, "LAYERT2V_PT_connection")[0]

    begin(saved, backend)

    assert "not loaded" not in draw(saved, "LAYERT2V_PT_connection")[0]


def test_an_intended_stop_is_no_error_and_a_failed_start_says_why(bpy, backend, tmp_path):
    from blender_addon.core.launcher import LaunchState
    from blender_addon.scene.runtime import runtime

    script = tmp_path / "backend.py"
    script.write_text("import sys; sys.stdin.read()")
    address = f"127.0.0.1:{backend.port}"
    backend.stop()
    bpy.ops.layert2v.backend_start(command=f"{sys.executable} {script}", address=address)
    pump_until(lambda: runtime.board.is_up is False, "the news")
    bpy.ops.layert2v.backend_stop()
    pump_until(lambda: runtime.launcher.state is LaunchState.STOPPED, "the end")
    assert draw(bpy, "LAYERT2V_PT_connection")[0] == "Stopped"

    script.write_text("raise SystemExit('layert2v-backend: another backend uses the folder X')")
    bpy.ops.layert2v.backend_start(command=f"{sys.executable} {script}", address=address)
    pump_until(lambda: runtime.launcher.state is LaunchState.ENDED, "the end")

    told = " ".join(draw(bpy, "LAYERT2V_PT_connection"))
    assert "The backend did not start: another backend uses the folder X." in told
    assert "No backend answers" not in told


def test_a_backend_that_answers_is_not_started_again(saved, backend):
    from blender_addon.scene.runtime import runtime

    result = saved.ops.layert2v.backend_start(command=sys.executable, address=backend.address)

    assert result == {"CANCELLED"}
    assert not runtime.launcher.is_running


def test_takes_on_disk_are_found_in_the_add_menu(saved):
    from blender_addon.ui import panels

    layout = CheckedLayout(saved)
    stand_in = types.SimpleNamespace(layout=layout)
    panels.draw_in_add_menu(stand_in, saved.context)
    panels.draw_in_strip_menu(stand_in, saved.context)

    assert layout.notes == ["layert2v.import_take", "layert2v.match_scene"]


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
