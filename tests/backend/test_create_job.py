import math
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from layert2v.v1 import job_pb2, shot_pb2
from layert2v_backend.settings import Settings
from layert2v_domain.shot import derive_seed
from support.running_backend import Client, running_backend
from support.scripted_engine import ScriptedEngine
from support.toy_model import make_toy_model_folder
from support.waiting import HANG_S
from support.wire_shots import (
    BACKGROUND,
    FOREGROUND,
    VOCABULARY,
    keep_layer,
    make_shot,
    write_sketch_model,
)


def refusal(client: Client, shot: Any, request_id: str = "") -> tuple[Any, str, dict[str, str]]:
    """Status code, reason and field violations of a refused CreateJob."""
    with pytest.raises(grpc.RpcError) as caught:
        client.create(shot, request_id)
    status = rpc_status.from_call(caught.value)
    reason = ""
    violations: dict[str, str] = {}
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
            assert info.domain == "layert2v"
        if detail.Unpack(bad):
            for item in bad.field_violations:
                violations[item.field] = f"{violations.get(item.field, '')} {item.description}"
    return caught.value.code(), reason, violations


def with_layer(index: int, **fields: Any) -> shot_pb2.Shot:
    shot = make_shot()
    for name, value in fields.items():
        setattr(shot.layers[index], name, value)
    return shot


BAD_SHOTS: dict[str, tuple[Callable[[], shot_pb2.Shot], str, str]] = {
    "empty prompt": (lambda: with_layer(2, prompt=" "), "shot.layers[2].prompt", "empty"),
    "over-long prompt": (
        lambda: with_layer(1, prompt="a" * 61),
        "shot.layers[1].prompt",
        "61 characters, sketch reads 60",
    ),
    "prompt with NUL": (lambda: with_layer(1, prompt="a\0b"), "shot.layers[1].prompt", "U+0000"),
    "prompt with a control character": (
        lambda: with_layer(0, prompt="\x1b[2J"),
        "shot.layers[0].prompt",
        "U+001B",
    ),
    "prompt with a bidi override": (
        lambda: with_layer(0, prompt="abc\u202edef"),
        "shot.layers[0].prompt",
        "U+202E",
    ),
    "over-long full prompt": (lambda: make_shot(prompt="b" * 99), "shot.prompt", "99 characters"),
    "over-long negative prompt": (
        lambda: make_shot(negative_prompt="b" * 99),
        "shot.negative_prompt",
        "99 characters",
    ),
    "impossible size": (
        lambda: make_shot(width=1920, height=1080),
        "shot.width",
        "choose 64 x 48, 96 x 64",
    ),
    "impossible height": (lambda: make_shot(width=96, height=48), "shot.height", "96 x 48"),
    "negative size": (lambda: make_shot(width=-64, height=48), "shot.width", "-64 x 48"),
    "impossible length": (lambda: make_shot(num_frames=10), "shot.num_frames", "choose 5, 9"),
    "negative seed": (lambda: make_shot(seed=-1), "shot.seed", "negative"),
    "negative layer seed": (lambda: with_layer(1, seed=-5), "shot.layers[1].seed", "negative"),
    "too many steps": (
        lambda: make_shot(num_inference_steps=201),
        "shot.num_inference_steps",
        "1 to 200",
    ),
    "negative steps": (
        lambda: make_shot(num_inference_steps=-1),
        "shot.num_inference_steps",
        "1 to 200",
    ),
    "too much guidance": (lambda: make_shot(guidance_scale=20.5), "shot.guidance_scale", "to 20"),
    "guidance under 1": (lambda: make_shot(guidance_scale=0.5), "shot.guidance_scale", "0.5"),
    "guidance that is no number": (
        lambda: make_shot(guidance_scale=math.nan),
        "shot.guidance_scale",
        "nan",
    ),
    "no layers": (lambda: make_shot(layers=[]), "shot.layers", "background is missing"),
    "no foreground": (lambda: make_shot(0), "shot.layers", "there are 0 foregrounds"),
    "too many foregrounds": (lambda: make_shot(4), "shot.layers", "there are 4 foregrounds"),
    "no background": (
        lambda: make_shot(layers=[shot_pb2.LayerSpec(role=FOREGROUND, prompt="a cat")]),
        "shot.layers",
        "background is missing",
    ),
    "two backgrounds": (
        lambda: with_layer(2, role=BACKGROUND),
        "shot.layers[2].role",
        "only the first layer",
    ),
    "no role": (lambda: with_layer(1, role=0), "shot.layers[1].role", "unknown"),
    "future role": (lambda: with_layer(1, role=99), "shot.layers[1].role", "unknown"),
}


@pytest.mark.parametrize("case", BAD_SHOTS)
def test_a_shot_that_cannot_be_made_is_refused_with_its_field(client: Client, case: str) -> None:
    make, field, words = BAD_SHOTS[case]

    code, reason, violations = refusal(client, make())

    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SHOT")
    assert words in violations[field]
    assert not client.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs


def test_every_wrong_field_is_listed(client: Client) -> None:
    shot = make_shot(width=1, height=1, num_frames=2, seed=-1)
    shot.layers[1].prompt = ""

    _, _, violations = refusal(client, shot)

    assert set(violations) == {
        "shot.width",
        "shot.num_frames",
        "shot.seed",
        "shot.layers[1].prompt",
    }


def test_an_unknown_model_is_refused_with_the_known_ones(client: Client) -> None:
    code, reason, violations = refusal(client, make_shot(model="sora"))

    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL")
    assert "'sora'" in violations["shot.model"]
    assert "sketch" in violations["shot.model"]


def test_a_damaged_model_is_refused_with_its_fault(
    settings: Settings, engine: ScriptedEngine
) -> None:
    folder = settings.models_dirs[0] / "broken"
    folder.mkdir()
    (folder / "layert2v.json").write_text('{"id": "broken", "sizes": []}')

    with running_backend(settings, engine) as client:
        code, reason, violations = refusal(client, make_shot(model="broken"))

    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_DAMAGED")
    assert "description" in violations["shot.model"]


def test_the_job_echoes_the_shot_with_every_default(client: Client) -> None:
    job = client.create(make_shot(1))

    assert (job.shot.width, job.shot.height, job.shot.num_frames) == (64, 48, 5)
    assert (job.shot.num_inference_steps, job.shot.guidance_scale) == (4, 3.0)
    assert [layer.seed for layer in job.shot.layers] == [derive_seed(7, 0), derive_seed(7, 1)]
    assert client.wait(job.name).state == job_pb2.JOB_STATE_SUCCEEDED


def test_an_echoed_shot_makes_the_same_shot(client: Client) -> None:
    first = client.create(make_shot(2, skip_finishing=True))

    second = client.create(first.shot)

    assert second.name != first.name
    assert second.shot == first.shot


def test_a_repeated_request_finds_its_job(client: Client) -> None:
    request_id = str(uuid.uuid4())

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: client.create(make_shot(), request_id).name, range(40)))

    assert len(set(names)) == 1
    assert len(client.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs) == 1


def test_a_request_id_of_another_shot_is_refused(client: Client) -> None:
    request_id = str(uuid.uuid4())
    client.create(make_shot(seed=1), request_id)

    code, reason, _ = refusal(client, make_shot(seed=2), request_id)

    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_a_request_id_that_is_no_uuid_is_refused(client: Client) -> None:
    code, _, violations = refusal(client, make_shot(), "../../etc")

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "UUID" in violations["request_id"]


def test_a_kept_layer_brings_prompt_and_seed_of_its_source(client: Client) -> None:
    source = client.create(make_shot(seed=1))
    client.wait(source.name)
    shot = keep_layer(make_shot(seed=2), 2, source.name, 1)

    job = client.create(shot)

    assert job.shot.layers[2].prompt == "animal 1"
    assert job.shot.layers[2].seed == source.shot.layers[1].seed
    assert job.shot.layers[2].kept.job == source.name


BAD_KEEPS: dict[str, tuple[dict[str, Any], Any, str, str]] = {
    "malformed job": ({"job": "jobs/../x"}, "INVALID_ARGUMENT", "job", "not of the form"),
    "unknown job": ({"job": "jobs/abc"}, "NOT_FOUND", "job", "no job jobs/abc"),
    "layer past the end": ({"layer_index": 7}, "INVALID_ARGUMENT", "layer_index", "layers 0 to 2"),
    "negative layer": ({"layer_index": -1}, "INVALID_ARGUMENT", "layer_index", "-1"),
    "other role": ({"layer_index": 0}, "INVALID_ARGUMENT", "layer_index", "is a background"),
    "other size": ({"num_frames": 9}, "INVALID_ARGUMENT", "job", "5 frames"),
}


@pytest.mark.parametrize("case", BAD_KEEPS)
def test_a_layer_that_cannot_be_kept_is_refused_with_its_field(client: Client, case: str) -> None:
    change, code_name, field, words = BAD_KEEPS[case]
    source = client.create(make_shot())
    client.wait(source.name)
    change = {"job": source.name, "layer_index": 1, "num_frames": 5} | change
    shot = make_shot(num_frames=change["num_frames"])

    code, _, violations = refusal(client, keep_layer(shot, 1, change["job"], change["layer_index"]))

    assert code is grpc.StatusCode[code_name]
    assert words in violations[f"shot.layers[1].kept.{field}"]


def test_a_layer_of_a_job_that_has_not_succeeded_cannot_be_kept(
    client: Client, engine: ScriptedEngine
) -> None:
    engine.may_go_on.clear()
    source = client.create(make_shot())

    code, reason, violations = refusal(client, keep_layer(make_shot(), 1, source.name, 1))

    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "KEPT_JOB_NOT_SUCCEEDED")
    assert source.name in violations["shot.layers[1].kept.job"]
    engine.may_go_on.set()


def test_a_shot_that_keeps_everything_is_refused(client: Client) -> None:
    source = client.create(make_shot(1))
    client.wait(source.name)
    shot = keep_layer(keep_layer(make_shot(1), 0, source.name, 0), 1, source.name, 1)

    code, _, violations = refusal(client, shot)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "nothing is left to generate" in violations["shot.layers"]


def test_jobs_are_refused_while_the_disk_has_no_room(
    settings: Settings, engine: ScriptedEngine
) -> None:
    floor = shutil.disk_usage("/").total * 1000
    full = settings.model_copy(update={"min_free_bytes": floor})

    with running_backend(full, engine) as client:
        code, reason, _ = refusal(client, make_shot())

        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
        assert not client.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs


def test_jobs_are_refused_while_the_queue_is_full(
    settings: Settings, engine: ScriptedEngine
) -> None:
    engine.may_go_on.clear()

    with running_backend(settings.model_copy(update={"max_queued": 1}), engine) as client:
        client.create(make_shot())
        assert engine.is_holding.wait(HANG_S)
        client.create(make_shot())
        code, reason, _ = refusal(client, make_shot())

    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")


def test_a_shot_that_fits_the_device_in_no_way_is_refused_when_it_is_asked_for(
    settings: Settings,
) -> None:
    make_toy_model_folder(settings.state.parent / "models" / "toy")

    with running_backend(settings.model_copy(update={"memory_bytes": 1 << 10})) as client:
        code, reason, violations = refusal(client, make_shot(1, model="toy"))

    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SHOT")
    assert "make the picture smaller" in violations["shot"]


def test_a_job_tells_the_prompts_that_its_model_was_not_taught(
    settings: Settings, engine: ScriptedEngine
) -> None:
    write_sketch_model(settings.models_dirs[0] / "sketch", vocabulary=VOCABULARY)
    shot = make_shot(2, prompt="an epic battle")
    shot.layers[0].prompt = "An old castle on a hill"
    shot.layers[1].prompt = "a fox standing still"
    shot.layers[2].prompt = "a dragon"

    with running_backend(settings, engine) as client:
        job = client.create(shot)
        ended = client.wait(job.name)
    with running_backend(settings, engine) as client:
        read = client.get(job.name)

    assert [(each.layer_index, each.words) for each in job.unknown_words] == [
        (-1, "epic battle"),
        (0, "old castle on a hill"),
        (2, "dragon"),
    ]
    assert list(job.unknown_words[1].nearest) == ["a castle over a river"]
    assert job.unknown_words[2].message == 'sketch knows no "dragon"; it knows a cat, a fox'
    assert ended.unknown_words == read.unknown_words == job.unknown_words
    assert ended.state == job_pb2.JOB_STATE_SUCCEEDED


def test_a_kept_layer_is_not_judged_again(settings: Settings, engine: ScriptedEngine) -> None:
    write_sketch_model(settings.models_dirs[0] / "sketch", vocabulary=VOCABULARY)

    with running_backend(settings, engine) as client:
        source = client.wait(client.create(make_shot(2)).name)
        job = client.create(keep_layer(make_shot(2), 1, source.name, 1))

    assert [each.layer_index for each in source.unknown_words] == [1, 2]
    assert [each.layer_index for each in job.unknown_words] == [2]


def test_a_model_without_a_vocabulary_knows_any_word(client: Client) -> None:
    assert not client.create(make_shot()).unknown_words
