"""The add-on's session against the real front door: from a request to a take on disk."""

from collections.abc import Callable

from blender_addon.core.board import Board
from blender_addon.core.journal import Journal
from blender_addon.core.records import JobRecord, RecordState
from blender_addon.core.session import Session
from blender_addon.core.shots import new_shot, regenerated
from blender_addon.core.takes import load_take
from layert2v_client import ArtifactFormat, ArtifactKind
from support.running_backend import running_backend, sketch_settings
from support.scripted_engine import ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import write_sketch_model

SHOT = new_shot("a meadow", ("a fox", "a hare"), model="sketch", seed=3)


def make_record(session, request_id, **others):
    values = {"asked": SHOT, "layer_index": -1} | others
    return JobRecord(
        request_id=request_id,
        project_uid="project",
        scene_name="Scene",
        shot_uid="shot",
        frame_start=1,
        shot_folder="shot_1",
        address=session.address,
        fps=8.0,
        **values,
    )


def settle(session: Session, request_id: str, is_done: Callable[[RecordState], bool]) -> JobRecord:
    board = Board()
    while request_id not in board.jobs or not is_done(board.jobs[request_id].record.state):
        board.apply(session.events.get(timeout=HANG_S))
    return board.jobs[request_id].record


def test_a_shot_and_its_regeneration_arrive_with_the_kept_layers_unchanged(tmp_path):
    write_sketch_model(tmp_path / "models" / "sketch")
    journal = Journal.of_media(tmp_path / "layert2v")
    with running_backend(sketch_settings(tmp_path), ScriptedEngine()) as backend:
        session = Session(backend.address)
        session.submit(make_record(session, "7b0d6e2c-7a6e-4a51-9c1e-6d5b8f0f3a11"), journal)
        first = settle(
            session, "7b0d6e2c-7a6e-4a51-9c1e-6d5b8f0f3a11", lambda state: not state.is_active
        )
        assert first.state is RecordState.READY, first
        kept = {0: first.job, 2: first.job}
        asked = regenerated(SHOT, 1, kept, prompt="a cat", seed=4, full_prompt="")
        again = make_record(
            session, "7b0d6e2c-7a6e-4a51-9c1e-6d5b8f0f3a12", asked=asked, layer_index=1
        )
        session.submit(again, journal)
        second = settle(session, again.request_id, lambda state: not state.is_active)
        session.close()

    assert second.state is RecordState.READY, second
    one, two = (load_take(journal.folder / each.take_folder) for each in (first, second))
    for kind, layer, is_kept in (
        (ArtifactKind.BACKGROUND, 0, True),
        (ArtifactKind.FOREGROUND, 2, True),
        (ArtifactKind.FOREGROUND, 1, False),
    ):
        files = [take.frames(kind, layer, ArtifactFormat.PNG) for take in (one, two)]
        contents = [[path.read_bytes() for path in paths] for paths in files]
        assert contents[0]
        assert (contents[0] == contents[1]) is is_kept


def test_a_shot_the_backend_refuses_names_its_field(tmp_path):
    write_sketch_model(tmp_path / "models" / "sketch")
    with running_backend(sketch_settings(tmp_path), ScriptedEngine()) as backend:
        session = Session(backend.address)
        asked = new_shot("a meadow", ("x" * 61,), model="sketch")
        record = make_record(session, "7b0d6e2c-7a6e-4a51-9c1e-6d5b8f0f3a13", asked=asked)
        session.submit(record, Journal.of_media(tmp_path / "layert2v"))
        refused = settle(session, record.request_id, lambda state: not state.is_active)
        session.close()

    assert refused.state is RecordState.FAILED
    assert "shot.layers[1].prompt" in refused.error
    assert "61" in refused.error
