from pathlib import Path

import pytest
import torch

from layert2v_training.cache.captions import CaptionStates, TokenTable
from layert2v_training.runs.model_export import text_encoder_folder

CAPTIONS = ["a fox", "a beach at night"]


def _states(folder: Path | None) -> CaptionStates:
    return CaptionStates.read(text_encoder_folder(), folder)


def _never(*_: object, **__: object) -> None:
    raise AssertionError("the encoder was asked")


def test_states_are_trimmed_and_found_again_on_disk_bit_for_bit(tmp_path: Path) -> None:
    first, again, alone = _states(tmp_path), _states(tmp_path), _states(None)
    first.encode(CAPTIONS)
    alone.encode(CAPTIONS)
    again = _states(tmp_path)
    again.encoder.forward = _never

    again.encode(CAPTIONS)

    for caption in ("", *CAPTIONS):
        assert torch.equal(again[caption], first[caption])
        assert torch.equal(again[caption], alone[caption])
    assert len(first["a fox"]) == 4
    assert not list(tmp_path.glob("*.part"))


def test_only_new_captions_are_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _states(tmp_path).encode(CAPTIONS)
    later, asked = _states(tmp_path), list[str]()
    encode = later._encode_batch
    monkeypatch.setattr(later, "_encode_batch", lambda batch: asked.extend(batch) or encode(batch))

    later.encode([*CAPTIONS, "a dog"])

    assert asked == ["a dog"]


def test_states_of_another_encoder_are_not_taken(tmp_path: Path) -> None:
    _states(tmp_path).encode(CAPTIONS)
    tuned = _states(None)
    with torch.no_grad():
        tuned.encoder.encoder.layer[-1].output.LayerNorm.bias += 0.1

    other = CaptionStates(tuned.tokenizer, tuned.encoder, tmp_path)
    other.encode(CAPTIONS)

    assert not torch.equal(other["a fox"], _states(tmp_path)["a fox"])


def test_the_encoder_is_on_the_device_only_while_it_encodes() -> None:
    whole = _states(None)
    states = CaptionStates(whole.tokenizer, whole.encoder, device=torch.device("cpu", 0))
    moves, move = list[str](), whole.encoder.to
    whole.encoder.to = lambda device: moves.append(str(device)) or move(device)

    states.encode(CAPTIONS)

    assert moves == ["cpu:0", "cpu"]


def test_a_table_in_half_precision_holds_what_a_matrix_product_would_round_to() -> None:
    states = _states(None)
    states.encode(CAPTIONS)

    table = TokenTable(states, CAPTIONS, torch.device("cpu"), torch.bfloat16)

    assert table.states_MD.dtype == torch.bfloat16
    assert torch.equal(table[table.rows["a fox"][None, None]][0, 0], states["a fox"].bfloat16())
