"""Faults of inputs that people hand to the model, in one tree.

ValueError
    InvalidShot          prompts, sizes, counts or seeds that this model cannot do
        InvalidPlate     pixels or mattes given as input
    DamagedModel         a model folder that is not whole
    InvalidLayers        a folder of layers that do not make a stack
    InvalidFixture       a file that `layert2v_model.released.modules` cannot check
    InvalidCheckpoint    released files that `layert2v-import` cannot turn into a model folder
ArithmeticError
    NotFinite            numbers that a model made, or was given to keep, are not numbers

Each message is one sentence with the value, the limit and the remedy.
"""

from pathlib import Path


class InvalidShot(ValueError):
    """Raised when a shot asks for something the model cannot make."""


class InvalidPlate(InvalidShot):
    """Raised when a given stream has a wrong shape, range or values that are not numbers."""


class DamagedModel(ValueError):
    """Raised when a model folder misses files or tensors, or holds broken or unknown ones."""


class NotFinite(ArithmeticError):
    """Raised when latents or pixels hold NaN or infinity: nothing made of them is a picture."""


class InvalidLayers(ValueError):
    """Raised when a folder misses layers, or holds some twice or of different sizes."""


class InvalidFixture(ValueError):
    """Raised when a fixture file cannot be read or is of no known kind."""


class InvalidCheckpoint(ValueError):
    """Raised when files of a release miss something, or hold what is broken or unknown."""


def reason_of(error: object, path: Path) -> str:
    """Say what went wrong with a file, for a message that names the file itself.

    Args:
        error: Exception, or words.
        path: Named by the message. Where the error names it again, its last part is left.
    """
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return words.replace(str(path), path.name)
