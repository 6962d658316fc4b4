"""Check our classes against tensors computed by the authors' own modules.

The exit status is 0 where every output agrees to `TOLERANCE` and 1 where one does not. It is 2
where a file cannot be read or is of no known kind. The kinds are described in
`tests/data/README.md`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor

from layert2v_model.errors import InvalidFixture
from layert2v_model.released.modules import (
    merge_released_lora,
    project_in_from_released,
    transformer_from_released,
    vae_from_released,
)
from layert2v_model.streams import batch_stream_text, num_foregrounds_of, stream_text
from layert2v_model.vae import codec
from layert2v_model.vae.alpha_vae import encode_alpha

TOLERANCE = 1e-4
"""Largest absolute difference that counts as equal, float32 on a CPU (measured: under 1e-5)."""

_STREAMS = ("full", "background", "foreground", "mask")
_PROMPTS = {"full": "full", "background": "background", "foreground": "foreground_1"}


@dataclass(frozen=True)
class Fixture:
    """One file of inputs, parameters and the outputs they gave."""

    metadata: Mapping[str, str]
    """Settings, as text and JSON."""
    tensors: Mapping[str, Tensor]
    """All tensors under their full names."""

    def settings(self, name: str) -> dict[str, Any]:
        """Parse a JSON entry of the metadata."""
        try:
            parsed = json.loads(self.metadata[name])
        except (KeyError, ValueError):
            raise InvalidFixture(f"its metadata has no readable {name}") from None
        if not isinstance(parsed, dict):
            raise InvalidFixture(f"its metadata {name} is not a JSON object")
        return parsed

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise InvalidFixture(f"it has no tensor {name}")
        return self.tensors[name]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors of one state dict, without their prefix."""
        found = {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}
        if not found:
            raise InvalidFixture(f"it has no tensor {prefix}*")
        return found


def read_fixture(path: Path) -> Fixture:
    """Read a fixture file.

    Raises:
        InvalidFixture: It is missing, broken or not a safetensors file.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Fixture(file.metadata() or {}, tensors)
    except (OSError, SafetensorError) as error:
        raise InvalidFixture(f"it cannot be read as safetensors ({error})") from None


def outputs(fixture: Fixture) -> dict[str, Tensor]:
    """Compute with our classes what the fixture says the authors' gave, by output name.

    Raises:
        InvalidFixture: The fixture is of no known kind, or does not fit together.
    """
    try:
        with torch.inference_mode():
            if "output.velocity" in fixture.tensors:
                return _transformer_outputs(fixture)
            if "output.alpha" in fixture.tensors:
                return _alpha_outputs(fixture)
    except (KeyError, TypeError, IndexError, RuntimeError, ValueError) as error:
        if isinstance(error, InvalidFixture):
            raise
        raise InvalidFixture(f"its settings and tensors do not fit together ({error})") from error
    raise InvalidFixture(
        "its kind is unknown, because it has neither output.velocity nor output.alpha"
    )


def _transformer_outputs(fixture: Fixture) -> dict[str, Tensor]:
    streams = tuple(fixture.metadata["streams"].split(","))
    if streams != _STREAMS:
        raise InvalidFixture(f"its streams are {streams}; known are {_STREAMS}")
    model = transformer_from_released(fixture.under("state_dict."), fixture.settings("config"))
    latents = rearrange(fixture["input.latents"], "b c (s t) h w -> b s c t h w", s=len(streams))
    text, mask = _stream_text(fixture, num_foregrounds_of(len(streams)))
    (velocity,) = model(latents, fixture["input.timestep"], text, mask, return_dict=False)
    return {"output.velocity": rearrange(velocity, "b s c t h w -> b c (s t) h w")}


def _stream_text(fixture: Fixture, num_foregrounds: int) -> tuple[Tensor, Tensor | None]:
    names = [_PROMPTS[prompt] for prompt in fixture.metadata["prompts"].split(",")]
    shots = []
    for context_ND, lengths in zip(
        fixture["input.context"], fixture["input.prompt_lens"].tolist(), strict=True
    ):
        states = context_ND[: sum(lengths)].split(lengths)
        prompts = dict(zip(names, states, strict=True))
        shots.append(stream_text(prompts, "released", num_foregrounds))
    return batch_stream_text(shots)


def _alpha_outputs(fixture: Fixture) -> dict[str, Tensor]:
    vae = vae_from_released(fixture.under("vae."), fixture.settings("vae"))
    lora = fixture.settings("lora")
    merge_released_lora(vae, fixture.under("decoder_lora."), lora["rank"], lora["alpha"])
    project_in = project_in_from_released(
        fixture.under("project_in."), fixture.settings("project_in")
    )
    alpha = fixture["input.mask"]
    projected = encode_alpha(vae, project_in, alpha)
    decoded = codec.decode_raw(vae, projected)
    return {
        "output.latent": codec.encode(vae, alpha.expand(-1, 3, -1, -1, -1)),
        "output.projected": projected,
        "output.decoded_rgb": decoded,
        "output.alpha": (decoded.mean(dim=1, keepdim=True) + 1) / 2,
    }


def differences(path: Path) -> Iterator[tuple[str, float]]:
    """Compare a file's outputs with ours: name and largest absolute difference.

    Raises:
        InvalidFixture: The file cannot be checked.
    """
    fixture = read_fixture(path)
    for name, ours in outputs(fixture).items():
        theirs = fixture[name]
        if theirs.shape != ours.shape:
            raise InvalidFixture(
                f"its {name} is {tuple(theirs.shape)}, its inputs give {tuple(ours.shape)}"
            )
        yield name, (theirs.double() - ours.double()).abs().max().item()


def verify(paths: Sequence[Path]) -> int:
    """Check files, write one line per output, and return the exit status."""
    status = 0
    for path in paths:
        try:
            for name, difference in differences(path):
                agrees = difference <= TOLERANCE
                verdict = "ok" if agrees else f"FAIL: over {TOLERANCE:g}"
                sys.stdout.write(f"{path.name}  {name}  {difference:.3e}  {verdict}\n")
                status = status or int(not agrees)
        except InvalidFixture as error:
            sys.stderr.write(
                f"cannot verify {path}: {error}; give a fixture as described in "
                "tests/data/README.md\n"
            )
            status = 2
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m layert2v_model.released")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verifying = commands.add_parser("verify", help="compare our modules with released outputs")
    verifying.add_argument("files", nargs="+", type=Path, metavar="FILE")
    return verify(parser.parse_args(arguments).files)
