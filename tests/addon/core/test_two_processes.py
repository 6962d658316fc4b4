"""Two Blenders on one .blend, without Blender: two processes, one journal folder, one backend."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from blender_addon.core.journal import Journal
from blender_addon.core.records import JobRecord, RecordState
from blender_addon.core.shots import new_shot
from blender_addon.core.takes import load_take, takes_of_shot
from support.fake_backend import FakeBackend
from support.waiting import HANG_S

ROOT = Path(__file__).parents[3]
BLENDER = f"""
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from blender_addon.core.board import Board
from blender_addon.core.journal import Journal
from blender_addon.core.session import Session

address, folder = sys.argv[1:3]
session, board, journal = Session(address), Board(), Journal(Path(folder))
session.attach([journal], "project")

def follow(is_done):
    while not is_done():
        board.apply(session.events.get(timeout={HANG_S}))

follow(lambda: sum(view.progress is not None for view in board.jobs.values()) == 5)
print("running", flush=True)
follow(lambda: not board.active)
print(json.dumps([view.record.to_json() for view in board.jobs.values()]))
session.close()
"""


@pytest.mark.slow
def test_two_blenders_on_one_file_both_get_the_take_and_lose_no_record(tmp_path):
    folder, num_requests = tmp_path / "layert2v", 5
    with FakeBackend() as backend:
        backend.script.hold = True
        for number in range(num_requests):
            record = JobRecord(
                request_id=f"request {number}",
                project_uid="project",
                scene_name="Scene",
                shot_uid=f"shot{number}",
                asked=new_shot("a beach", ("a ball",), num_frames=2),
                frame_start=1,
                shot_folder=f"shot_{number}",
                address=backend.address,
                fps=8.0,
            )
            Journal(folder, "first").append(record)
        paths = [str(ROOT), str(ROOT / "proto")]
        command = [sys.executable, "-c", BLENDER, backend.address, str(folder), *paths]
        blenders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for blender in blenders:
            assert blender.stdout.readline() == "running\n"
        backend.finish()
        said = [json.loads(blender.communicate(timeout=HANG_S)[0]) for blender in blenders]

        assert len(backend.jobs) == num_requests
    for records in said:
        assert {record["state"] for record in records} == {"ready"}
        for record in records:
            load_take(folder / record["take_folder"])
    for number in range(num_requests):
        assert len(takes_of_shot(folder / f"shot_{number}")) == 1
    assert len(list(folder.glob("journal-*.jsonl"))) == 3
    merged = Journal(folder).records()
    assert [record.state for record in merged.values()] == [RecordState.READY] * num_requests
