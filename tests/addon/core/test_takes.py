"""Takes on disk, read again by this version of the add-on, an older or a newer one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blender_addon.core.shots import new_shot
from blender_addon.core.takes import Take, TakeFile, UnreadableTake, load_take
from layert2v_client import ArtifactFormat, ArtifactKind
from layert2v_words import UnknownWords

DRAGON = UnknownWords(1, "dragon", ("a fox",), "tiny knows no dragon")


@pytest.fixture
def take(tmp_path: Path) -> Take:
    name, kind, png = "background/0000.png", ArtifactKind.BACKGROUND, ArtifactFormat.PNG
    (tmp_path / "background").mkdir()
    (tmp_path / name).write_bytes(b"")
    shot = new_shot("a beach", ("a dragon",), seed=1)
    file = TakeFile(name, "aa", kind, png, 0, 0)
    take = Take(tmp_path, 1, "jobs/a", "shot", shot, shot, 8.0, (file,), (2,), (DRAGON,))
    take.save()
    return take


def changed(take: Take, change: Callable[[dict[str, Any]], object]) -> Take:
    path = take.folder / "take.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return load_take(take.folder)


def test_a_foreground_that_is_in_no_frame_says_what_to_do(take):
    made = replace(take.made, num_frames=2)

    notice = replace(take, made=made, unknown_words=()).notice(1)

    assert notice == (
        "The foreground is empty in all 2 frames. Try another seed or reword the prompt."
    )


def test_a_take_is_described_although_its_files_are_gone(take):
    (take.folder / "background" / "0000.png").unlink()

    assert load_take(take.folder, is_checked=False) == take


def test_a_take_is_read_as_it_was_written(take):
    assert load_take(take.folder) == take


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(new=1),
        lambda values: values["asked"].update(new=1),
        lambda values: values["made"]["layers"][1].update(new=1),
        lambda values: values["files"][0].update(new=1),
        lambda values: values["files"].append({**values["files"][0], "kind": "depth"}),
        lambda values: values["files"].append({**values["files"][0], "format": "avif"}),
        lambda values: values["files"].append({"kind": "depth"}),
        lambda values: values["files"].append(None),
        lambda values: values["unknown_words"][0].update(new=1),
        lambda values: values["unknown_words"].append({"layer_index": 1}),
        lambda values: values["unknown_words"].append({"layer_index": None, "message": "no"}),
        lambda values: values["unknown_words"].append(None),
        lambda values: values["unknown_words"].append("dragon"),
    ],
)
def test_what_a_newer_version_added_is_passed_over(take, change):
    assert changed(take, change) == take


def test_a_kept_layer_of_a_newer_version_is_read(take):
    kept = {"job": "jobs/b", "layer_index": 0, "new": 1}

    read = changed(take, lambda values: values["made"]["layers"][0].update(kept=kept))

    assert read.made.layers[0].kept is not None
    assert read.made.layers[0].kept.job == "jobs/b"


@pytest.mark.parametrize("none", [None, 3, "x", {}])
def test_words_and_empty_frames_that_are_no_lists_are_not_known(take, none):
    read = changed(take, lambda values: values.update(unknown_words=none, empty_frames=none))

    assert read.unknown_words == read.empty_frames == ()


def test_words_without_the_nearest_keep_their_sentence(take):
    read = changed(take, lambda values: values["unknown_words"][0].update(nearest=None, words=None))

    assert read.notice(1).endswith("tiny knows no dragon.")


def test_values_that_a_newer_version_left_out_take_their_defaults(take):
    def change(values: dict[str, Any]) -> None:
        values["fps"] = values["made"]["negative_prompt"] = values["asked"]["width"] = None
        del values["made"]["skip_finishing"], values["made"]["layers"][0]["kept"]

    read = changed(take, change)

    assert (read.fps, read.made, read.asked) == (0.0, take.made, take.asked)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("files"),
        lambda values: values["files"][0].pop("path"),
        lambda values: values.update(made=3),
        lambda values: values["made"].update(layers=None),
        lambda values: values["made"]["layers"][0].update(role="shadow"),
        lambda values: values.update(number="one"),
    ],
)
def test_a_take_whose_frames_or_layers_are_not_understood_is_unreadable(take, change):
    with pytest.raises(UnreadableTake, match=r"take.json cannot be read .*Restore"):
        changed(take, change)
