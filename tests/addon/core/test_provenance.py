"""`strip["layert2v"]`, which other versions of the add-on and scripts may have written."""

import pytest

from blender_addon.scene.provenance import KEY, Provenance, read_or_none, write

FOX = Provenance("s", "jobs/a", 2, 1, "foreground", "a fox", 2**40, "tiny", "//x", "png", "Gone.")


@pytest.fixture
def strip() -> dict[str, dict[str, object]]:
    strip: dict[str, dict[str, object]] = {}
    write(strip, FOX)
    return strip


def test_a_strips_provenance_is_read_as_it_was_written(strip):
    assert read_or_none(strip) == FOX


def test_fields_of_a_newer_version_are_passed_over(strip):
    strip[KEY] |= {"new": 1, "notice": 3}

    read = read_or_none(strip)

    assert read is not None
    assert (read.prompt, read.notice) == ("a fox", "")


@pytest.mark.parametrize(
    ("name", "value"), [("job", None), ("layer", "one"), ("seed", "x"), ("path", 3), ("schema", 2)]
)
def test_a_strip_that_is_not_understood_has_no_provenance(strip, name, value):
    strip[KEY][name] = value
    assert read_or_none(strip) is None

    del strip[KEY][name]
    assert read_or_none(strip) is None


@pytest.mark.parametrize("value", ["text", 3, [1]])
def test_a_property_that_holds_no_fields_is_none_of_ours(value):
    assert read_or_none({KEY: value}) is None
    assert read_or_none(None) is None
