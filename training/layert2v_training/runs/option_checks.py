"""Options of `layert2v-train` that mean nothing beside others, refused instead of left aside."""

from layert2v_training.runs.overrides import InvalidRecipe
from layert2v_training.runs.run import Run


def check_options(
    run: Run,
    recipe: str,
    *,
    is_dry: bool = False,
    ignores_fit: bool = False,
    is_elsewhere: bool = False,
) -> None:
    """Refuse options that a run would not use.

    Args:
        run: As the options say.
        recipe: The recipe's name on the command line.
        is_dry: Whether `--dry-run` was said.
        ignores_fit: Whether `--ignore-fit` was said.
        is_elsewhere: Whether `--device-memory` was said.

    Raises:
        InvalidRecipe: Names the option, why it is not used, and the remedy.
    """
    if run.base is not None and run.recipe.base == "none":
        raise InvalidRecipe(
            f"--base is {run.base} and the recipe {recipe} begins with no base: leave --base out, "
            f"or choose a recipe that does, such as --recipe wan2.1-1.3b"
        )
    if run.base is not None and run.init is not None:
        raise InvalidRecipe(
            "--base and --init are both given and a run begins with one of them: --init holds a "
            "whole model; leave --base out"
        )
    if run.skip_bad and run.data is None:
        raise InvalidRecipe("--skip-bad is for clips of your own: give them as --data, or leave it")
    if is_elsewhere and not is_dry:
        raise InvalidRecipe("--device-memory is of a device that is not here: add --dry-run")
    if is_dry and ignores_fit:
        raise InvalidRecipe("--dry-run says what fits and --ignore-fit does not ask: give only one")
