from pathlib import Path

import pytest

from layert2v_training.evaluation.prompts import BadInput, read_prompts

GOOD = '{"prompt": "", "background": "a beach", "foregrounds": ["a fox", "a ball"], "seed": 7}'


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_line_is_a_shot_and_blank_lines_are_none(tmp_path: Path) -> None:
    shots = read_prompts(_file(tmp_path, GOOD, "", GOOD.replace("7", "8")))

    assert [shot.seed for shot in shots] == [7, 8]
    assert shots[0].prompts().foregrounds == ("a fox", "a ball")


def test_bad_lines_are_named_by_number_all_at_once(tmp_path: Path) -> None:
    lines = [GOOD, "{", '{"background": "a beach"}', GOOD.replace('"seed"', '"sede"')]

    with pytest.raises(BadInput, match=r"line 2 .*line 3 \(foregrounds.*line 4 \(sede") as refusal:
        read_prompts(_file(tmp_path, *lines))

    assert "line 1 (" not in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [('["a fox", "a ball"]', "[]"), ('"a fox"', '" "'), ("7", "-1"), ("7", '"7"')],
)
def test_values_out_of_range_are_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    with pytest.raises(BadInput, match="line 1"):
        read_prompts(_file(tmp_path, GOOD.replace(*change)))


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"line 5 .*and 4 more"):
        read_prompts(_file(tmp_path, *["{"] * 9))


def test_a_file_without_shots_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no shot"):
        read_prompts(_file(tmp_path, ""))
    with pytest.raises(BadInput, match="cannot be read"):
        read_prompts(tmp_path / "nowhere.jsonl")
