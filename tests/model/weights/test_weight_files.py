import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.folders.model_folder import read_transformer
from layert2v_model.weights.checks import check_weights
from layert2v_model.weights.pickled_files import read_pickled
from layert2v_model.weights.weight_files import read_json, read_safetensors, write_weights
from support.toy_model import make_toy_transformer


def test_shards_are_read_by_the_library_as_one_model(tmp_path: Path) -> None:
    model = make_toy_transformer().eval()
    state = model.state_dict()
    model.save_config(tmp_path / "transformer")

    write_weights(
        tmp_path / "transformer", "diffusion_pytorch_model", state, state.__getitem__, "it", 20_000
    )

    assert len(list(tmp_path.glob("transformer/*.safetensors"))) > 2
    again = read_transformer(tmp_path, torch.float32).state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())


def test_a_tensor_is_asked_for_only_when_its_shard_is_written(tmp_path: Path) -> None:
    planned = {name: torch.empty(1000, device="meta") for name in "abcd"}
    files_at_reading = []

    def read(name: str) -> torch.Tensor:
        files_at_reading.append(len(list(tmp_path.iterdir())))
        return torch.zeros(1000)

    write_weights(tmp_path, "model", planned, read, "it", max_shard_bytes=4000)

    assert files_at_reading == [0, 1, 2, 3]


def test_tensors_are_written_in_the_planned_precision(tmp_path: Path) -> None:
    planned = {"a": torch.empty(3, dtype=torch.bfloat16, device="meta")}

    write_weights(tmp_path, "model", planned, lambda _: torch.ones(3), "it")

    found = read_safetensors([tmp_path / "model.safetensors"])
    assert found["a"].dtype == torch.bfloat16


def test_weights_are_mapped_and_not_copied(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(300_000)}, tmp_path / "a.safetensors")
    torch.save({"b": torch.zeros(300_000)}, tmp_path / "b.pth")

    held = [read_safetensors([tmp_path / "a.safetensors"]), read_pickled(tmp_path / "b.pth")]

    mapped = Path("/proc/self/maps").read_text()
    assert len(held) == 2
    assert str(tmp_path / "a.safetensors") in mapped
    assert str(tmp_path / "b.pth") in mapped


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_file({"a": torch.zeros(1)}, tmp_path / f"{name}.safetensors")

    with pytest.raises(InvalidCheckpoint, match=r"two.safetensors holds a again"):
        read_safetensors([tmp_path / "one.safetensors", tmp_path / "two.safetensors"])


def test_all_that_does_not_fit_is_listed() -> None:
    found = {"stray": torch.zeros(1), "narrow": torch.zeros(2)}
    expected = {"narrow": torch.zeros(3), **{f"lost_{k:02}": torch.zeros(1) for k in range(25)}}

    with pytest.raises(InvalidCheckpoint) as refusal:
        check_weights(found, expected, "x")

    sentence = str(refusal.value)
    assert "25 missing: lost_00, lost_01" in sentence
    assert "lost_19 and 5 more" in sentence
    assert "1 unexpected: stray" in sentence
    assert "1 of another shape: narrow (2,) instead of (3,)" in sentence


def test_a_json_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps([1]))

    with pytest.raises(InvalidCheckpoint, match="not a JSON object"):
        read_json(tmp_path / "config.json")
