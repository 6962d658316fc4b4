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
        ("a blue car", "blue car", "a red car"),
        ("a football", "football", "a soccer ball"),
        ("a boat", "boat", "a sailboat"),
        ("a ball", "ball", "a soccer ball"),
        ("a cat and a fox", "cat and a fox", "a cat, a fox"),
        ("an elefant standing still", "elefant", "an elephant"),
        ("a cat, and a fox", "cat, and a fox", "a cat, a fox"),
    ],
)
def test_words_that_are_not_a_subjects_are_told(prompt: str, words: str, nearest: str) -> None:
    assert message(FOREGROUND, prompt) == f'tiny knows no "{words}"; nearest: {nearest}'


MOTIONS = "; motions it knows: standing still, moving to the right, moving right and 1 more"


@pytest.mark.parametrize(
    ("prompt", "words", "advice"),
    [
        ("a fox running", "running", MOTIONS),
        ("a red car, driving slowly", "driving slowly", MOTIONS),
        ("a fox jumping", "jumping", "; nearest motion: jumping up and down"),
        (
            "a fox runing to the right",
            "runing to the right",
            "; nearest motion: moving to the right, moving right",
        ),
        ("a fox in the snow", "snow", ""),
        ("a fox moving right in the snow", "snow", ""),
        ("two foxes", "two", ""),
        ("a fox and a wolf", "wolf", ""),
        ("a girl with a red car", "girl", ""),
    ],
)
def test_beside_a_known_subject_only_what_is_not_known_is_named(
    prompt: str, words: str, advice: str
) -> None:
    subject = "a red car" if "car" in prompt else "a fox"

    assert found(FOREGROUND, prompt) == UnknownWords(
        FOREGROUND, words, (subject,), f'tiny knows {subject} but no "{words}"{advice}'
    )


def test_unknown_words_before_and_after_a_known_subject_are_quoted_apart() -> None:
    unknown = found(FOREGROUND, "two foxes in the snow")

    assert unknown is not None
    assert unknown.words == "two, snow"
    assert unknown.message == 'tiny knows a fox but no "two" and no "snow"'


def test_a_model_without_motions_offers_none() -> None:
    still = Vocabulary(("a fox",), ("a sea",))

    unknown = find_unknown_words(still, "still", FOREGROUND, "a fox running")

    assert unknown is not None
    assert unknown.message == 'still knows a fox but no "running"'


def test_moves_of_the_camera_are_offered_where_the_prompt_asks_for_one() -> None:
    assert message(BACKGROUND, "a pine forest, the camera tilts up") == (
        'tiny knows a pine forest but no "camera tilts up"; nearest camera move: '
        "the camera pans left"
    )
    assert message(BACKGROUND, "a pine forest, foggy") == (
        'tiny knows a pine forest but no "foggy"'
    )


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a knight, a sword", "knight, a sword"),
        ("a grim\nknight; with a dog-eared  book", "grim knight; with a dog-eared book"),
        ("\u0915\u0941\u0924\u094d\u0924\u093e", "\u0915\u0941\u0924\u094d\u0924\u093e"),
        ("\u0e2b\u0e21\u0e35, \u0e1b\u0e48\u0e32", "\u0e2b\u0e21\u0e35, \u0e1b\u0e48\u0e32"),
        ("con cho\u0301 nho\u0309", "con ch\u00f3 nh\u1ecf"),
        ("q\u0323uagga", "q\u0323uagga"),
    ],
)
def test_words_are_quoted_as_they_were_written(prompt: str, words: str) -> None:
    assert message(FOREGROUND, prompt).startswith(f'tiny knows no "{words}"; ')


def test_a_long_word_is_not_cut_between_a_letter_and_its_mark() -> None:
    unknown = found(FOREGROUND, "n" + "q\u0323" * 60)

    assert unknown is not None
    assert unknown.words == "n" + "q\u0323" * 29 + "..."


@pytest.mark.parametrize(
    "prompt", ["a dragon", "a red dragon", "a carrot", "\u72d0", "a bcat", "a foxy"]
)
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


def test_words_that_only_look_alike_by_chance_are_not_near() -> None:
    assert message(BACKGROUND, "a lawnx").startswith('tiny knows no "lawnx"; it knows ')
    assert message(BACKGROUND, "spine").startswith('tiny knows no "spine"; it knows ')


def test_more_entries_than_are_shown_are_counted_where_they_are_equally_near() -> None:
    many = Vocabulary(tuple(f"a {colour} car" for colour in ("red", "blue", "old", "new")), ())

    unknown = find_unknown_words(many, "tiny", FOREGROUND, "a car")

    assert unknown is not None
    assert unknown.nearest == ("a blue car", "a new car", "a old car")
    assert unknown.message.endswith("; nearest: a blue car, a new car, a old car and 1 more")


def test_a_prompt_of_nothing_but_a_known_motion_or_camera_move_is_known() -> None:
    assert found(FOREGROUND, "standing still") is None
    assert found(BACKGROUND, "the camera pans left") is None
    assert found(FULL, "Moving to the right, the camera pans left.") is None


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

    assert again == unknown or " but no " in unknown.message
    assert set(unknown.nearest) <= {*KNOWN.foregrounds, *KNOWN.backgrounds}


WORDS = st.lists(
    st.sampled_from("old castle on a hill red dragon fox sea with two green".split()),  # noqa: SIM905
    max_size=6,
    unique=True,
).map(" ".join)


@given(WORDS)
def test_what_is_unknown_is_known_once_it_is_taught(prompt: str) -> None:
    unknown = found(FOREGROUND, prompt)
    if unknown is None:
        return
    foregrounds, motions = KNOWN.foregrounds, KNOWN.motions
    if " but no " in unknown.message:
        motions += tuple(unknown.words.split(", "))
    else:
        foregrounds += (unknown.words,)
    taught = Vocabulary(foregrounds, KNOWN.backgrounds, motions)

    assert find_unknown_words(taught, "tiny", FOREGROUND, prompt) is None


@given(WORDS, st.permutations(KNOWN.backgrounds))
def test_the_order_of_a_vocabulary_does_not_matter(prompt: str, backgrounds: list[str]) -> None:
    shuffled = Vocabulary(KNOWN.foregrounds, tuple(backgrounds), KNOWN.motions, KNOWN.cameras)

    assert find_unknown_words(shuffled, "tiny", BACKGROUND, prompt) == found(BACKGROUND, prompt)
