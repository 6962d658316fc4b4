import pytest
from hypothesis import given
from hypothesis import strategies as st

from layert2v_words import FULL, UnknownWords, Vocabulary, find_unknown_words

BACKGROUND, FOREGROUND = 0, 1

KNOWN = Vocabulary(
    foregrounds=("a fox", "an elephant", "a red car", "a soccer ball", "a sailboat", "a cat"),
    backgrounds=(
        "a castle behind a green lawn",
        "a white castle in the mountains",
        "green hills with a long wall",
        "clouds over a calm sea",
        "a pine forest",
        "the Colosseum",
    ),
    motions=("standing still", "moving to the right", "moving right", "jumping up and down"),
    cameras=("the camera pans left",),
)
PLURALS = ("foxes", "elephants", "red cars", "soccer balls", "sailboats", "cats")


def found(layer_index: int, prompt: str) -> UnknownWords | None:
    return find_unknown_words(KNOWN, "tiny", layer_index, prompt)


def message(layer_index: int, prompt: str) -> str:
    unknown = found(layer_index, prompt)
    return unknown.message if unknown else ""


@pytest.mark.parametrize(
    "prompt",
    [
        "a fox",
        "Fox",
        "the foxes",
        "a fox moving to the right",
        "a fox, standing still.",
        "a fox jumping up and down",
        "a fox is moving right",
        "the fox\u2019s",
        "a soccer-ball moving right",
        "Red Cars",
    ],
)
def test_a_foreground_that_names_one_known_subject_is_known(prompt: str) -> None:
    assert found(FOREGROUND, prompt) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "A WHITE CASTLE IN THE MOUNTAINS",
        "white castles in a mountain",
        "the colosseum, the camera pans left",
        "a green hill with a long wall",
        "",
    ],
)
def test_a_background_that_names_one_known_place_is_known(prompt: str) -> None:
    assert found(BACKGROUND, prompt) is None


def test_a_prompt_that_goes_beyond_what_is_known_is_marked_with_the_nearest() -> None:
    assert found(BACKGROUND, "An old castle on a hill, the camera pans left") == UnknownWords(
        BACKGROUND,
        "old castle on a hill",
        ("a castle behind a green lawn", "a white castle in the mountains"),
        'tiny knows no "old castle on a hill"; nearest: a castle behind a green lawn, '
        "a white castle in the mountains",
    )


@pytest.mark.parametrize(
    ("prompt", "words", "nearest"),
    [
        ("a fox in the snow", "fox in the snow", "a fox"),
        ("a fox moving right in the snow", "fox in the snow", "a fox"),
        ("two foxes", "two foxes", "a fox"),
        ("a blue car", "blue car", "a red car"),
        ("a football", "football", "a soccer ball"),
        ("a boat", "boat", "a sailboat"),
        ("a ball", "ball", "a soccer ball"),
        ("a cat and a fox", "cat and a fox", "a cat, a fox"),
        ("an elefant standing still", "elefant", "an elephant"),
    ],
)
def test_words_that_are_not_a_subjects_are_told(prompt: str, words: str, nearest: str) -> None:
    assert message(FOREGROUND, prompt) == f'tiny knows no "{words}"; nearest: {nearest}'


@pytest.mark.parametrize("prompt", ["a dragon", "a red dragon", "a carrot", "\u72d0"])
def test_a_prompt_with_nothing_near_is_told_some_of_what_is_known(prompt: str) -> None:
    words = prompt.removeprefix("a ")

    assert message(FOREGROUND, prompt) == (
        f'tiny knows no "{words}"; it knows a cat, an elephant, a fox and 3 more'
    )


@pytest.mark.parametrize(
    ("prompt", "nearest"),
    [
        ("the sea", "clouds over a calm sea"),
        ("hills", "green hills with a long wall"),
        ("a castle", "a castle behind a green lawn, a white castle in the mountains"),
        ("a white castle", "a white castle in the mountains"),
    ],
)
def test_a_part_of_a_known_place_is_marked(prompt: str, nearest: str) -> None:
    assert message(BACKGROUND, prompt).endswith(f"; nearest: {nearest}")


def test_the_words_of_two_places_are_not_one_place() -> None:
    assert found(BACKGROUND, "a castle on green hills")


def test_a_subject_as_a_background_is_told_as_what_it_is() -> None:
    assert message(BACKGROUND, "a fox") == 'tiny knows "fox" only as a foreground'
    assert message(FOREGROUND, "a pine forest") == 'tiny knows "pine forest" only as a background'


def test_a_motion_alone_names_nothing() -> None:
    assert message(FOREGROUND, "standing still").startswith('tiny knows no "standing still"')


def test_the_full_picture_is_marked_only_when_it_names_nothing_known() -> None:
    assert found(FULL, "a cinematic shot of a fox in the snow, at dawn") is None
    assert found(FULL, "") is None
    assert message(FULL, "an epic battle").startswith('tiny knows no "epic battle"; it knows ')


def test_a_long_prompt_is_quoted_in_part() -> None:
    unknown = found(FOREGROUND, "a grumpy dragon " + "with very long green claws " * 8)

    assert unknown is not None
    assert len(unknown.words) < 70
    assert unknown.words.endswith("...")


def test_a_vocabulary_without_entries_of_a_kind_knows_nothing_there() -> None:
    unknown = find_unknown_words(Vocabulary((), ("a sea", "...")), "odd", 1, "a fox")

    assert unknown is not None
    assert unknown.message == 'odd knows no "fox"; it knows nothing here'


ENTRIES = st.sampled_from([(1, entry) for entry in (*KNOWN.foregrounds, *PLURALS)]) | (
    st.sampled_from([(0, entry) for entry in KNOWN.backgrounds])
)
NOISE = st.text(" .,;:!?-\n", max_size=4)


@given(ENTRIES, st.sampled_from([str.upper, str.title, str.lower]), NOISE, NOISE, st.booleans())
def test_every_entry_is_known_however_it_is_written(
    entry: tuple[int, str], case: object, before: str, between: str, has_extra: bool
) -> None:
    layer_index, words = entry
    extra = (KNOWN.motions if layer_index else KNOWN.cameras)[0] if has_extra else ""
    assert callable(case)

    assert found(layer_index, f"{before}{case(words)}{between} {extra}") is None


@given(st.integers(-1, 2), st.text(max_size=80))
def test_any_text_is_judged_and_what_is_quoted_is_judged_alike(layer: int, prompt: str) -> None:
    unknown = found(layer, prompt)
    if unknown is None or unknown.words.endswith("..."):
        return

    again = found(layer, unknown.words)

    assert again == unknown
    assert set(unknown.nearest) <= {*KNOWN.foregrounds, *KNOWN.backgrounds}


WORDS = st.lists(
    st.sampled_from("old castle on a hill red dragon fox sea with two green".split()),  # noqa: SIM905
    max_size=6,
).map(" ".join)


@given(WORDS)
def test_what_is_unknown_is_known_once_it_is_an_entry(prompt: str) -> None:
    unknown = found(FOREGROUND, prompt)
    if unknown is None:
        return
    taught = Vocabulary((*KNOWN.foregrounds, unknown.words), KNOWN.backgrounds, KNOWN.motions)

    assert find_unknown_words(taught, "tiny", FOREGROUND, prompt) is None


@given(WORDS, st.permutations(KNOWN.backgrounds))
def test_the_order_of_a_vocabulary_does_not_matter(prompt: str, backgrounds: list[str]) -> None:
    shuffled = Vocabulary(KNOWN.foregrounds, tuple(backgrounds), KNOWN.motions, KNOWN.cameras)

    assert find_unknown_words(shuffled, "tiny", BACKGROUND, prompt) == found(BACKGROUND, prompt)
