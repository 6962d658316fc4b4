"""The dry run's memory beside training's real memory: `python -m benchmarks.training_peaks`.

Every case is a stage of three steps in a process of its own, from reading weights to the last
checkpoint. Its peak is the resident memory beyond the program's libraries. Networks are random
except for the shipped VAEs. Runs on Linux only. Prints a table.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

import layert2v_model
from benchmarks.memory import extra_peak_bytes
from layert2v_model.cost.device import Device
from layert2v_model.vae.alpha_vae import ProjectIn, save_alpha_vae
from layert2v_training.costs.dry_run import needs_of
from layert2v_training.costs.parts import StageParts
from layert2v_training.runs.overrides import apply_overrides, read_overrides
from layert2v_training.runs.programs import run_alpha_vae, run_joint, run_vae
from layert2v_training.runs.recipes import RECIPES
from layert2v_training.runs.run import Run

assert layert2v_model.__file__ is not None
TINY = Path(layert2v_model.__file__).parent / "tiny"


@dataclass(frozen=True)
class Case:
    """A stage with the changes to its recipe."""

    stage: str
    changes: Mapping[str, object] = field(default_factory=dict)
    recipe: str = "tiny"
    goes_on: bool = False
    """Parts from the shipped model, by `--init`."""

    @property
    def words(self) -> str:
        """Give the changes, for the table."""
        return ", ".join(f"{name} {value}" for name, value in self.changes.items())


LORA = {"rank": 32, "alpha": 32.0}
CASES = {
    "vae": Case("vae", {"vae_clips": 300}),
    "mattes": Case("alpha-vae", {"alpha_vae.batch_size": 8}),
    "mattes, Wan's VAE": Case("alpha-vae", {"alpha_vae.loop.autocast": None}, "wan2.1-1.3b"),
    "joint": Case("joint", {"joint.loop.autocast": "bfloat16"}),
    "joint, float32": Case("joint", {"joint.loop.autocast": None, "joint.windowed_share": 0}),
    "joint, checkpointing": Case(
        "joint",
        {"joint.batch_size": 8, "joint.gradient_checkpointing": True, "joint.windowed_share": 0},
    ),
    "three foregrounds": Case(
        "multi-foreground",
        {
            "multi_foreground.batch_size": 1,
            "multi_foreground.windowed_share": 0,
            "joint_scene.foregrounds": [3],
        },
        goes_on=True,
    ),
    "LoRA": Case(
        "multi-foreground",
        {
            "multi_foreground.lora": LORA,
            "multi_foreground.loop.muon_scale": 0,
            "multi_foreground.windowed_share": 0,
            "multi_foreground.loop.gradient_accumulation": 2,
            "multi_foreground.batch_size": 1,
            "joint_scene.foregrounds": [2],
        },
        goes_on=True,
    ),
    "Wan, decoded losses": Case("joint", {"joint.batch_size": 1}, "wan2.1-1.3b"),
    "Wan, frozen bfloat16": Case(
        "joint",
        {
            "joint.lora.frozen": "bfloat16",
            "joint.loop.autocast": "bfloat16",
            "joint.batch_size": 2,
            "joint.decoded": {"matte": 0.0, "composite": 0.0},
        },
        "wan2.1-1.3b",
    ),
}
"""The cases by name."""

SMALL = {
    "num_clips": 4,
    "vae_clips": 100,
    "alpha_vae.num_clips": 40,
    **{f"{stage}.num_steps": 3 for stage in ("vae", "alpha_vae.loop", "joint.loop")},
    "multi_foreground.loop.num_steps": 3,
}
"""Changes of every case, unless it has its own."""

WAN_WIDTH = {"joint_scene.width": 224, "joint_scene.height": 128}
"""Size in cases of Wan's kind, two thirds of the recipe's."""


def make_run(case: Case, assets: Path, out: Path) -> Run:
    """Make the run of a case in a folder, with the parts of earlier stages."""
    changes = {**SMALL, **(WAN_WIDTH if case.recipe != "tiny" else {}), **case.changes}
    assigned = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    recipe = apply_overrides(RECIPES[case.recipe](), read_overrides([], assigned))
    base = None
    if recipe.base == "wan":
        base = out.parent / "wan"
        _write_wan(base)
        recipe = replace(recipe, scene=replace(recipe.scene, width=224, height=128))
    run = Run(recipe, assets, out, base=base, init=TINY if case.goes_on else None)
    _write_vaes(run, case)
    return run


def _write_vaes(run: Run, case: Case) -> None:
    if case.stage == "vae":
        return
    if run.recipe.base == "none":
        for part in ("vae", "alpha_vae"):
            shutil.copytree(TINY / part, run.out / part)
        return
    vae = _small_wan_vae()
    vae.save_pretrained(run.out / "vae")
    save_alpha_vae(vae, ProjectIn(vae.config.z_dim), run.out / "alpha_vae")


def _small_wan_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=32)


def _write_wan(folder: Path) -> None:
    """Write random parts of Wan's kind, a third as wide and with six blocks."""
    torch.manual_seed(0)
    network = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=128, ffn_dim=3072, num_layers=6, text_dim=512
    )
    network.save_pretrained(folder / "transformer")
    _small_wan_vae().save_pretrained(folder / "vae")
    letters = [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -3.0)]
    T5Tokenizer(vocab=[*special, *letters], extra_ids=0).save_pretrained(folder / "tokenizer")
    text = UMT5Config(vocab_size=40000, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=8)
    UMT5EncoderModel(text).to(torch.bfloat16).save_pretrained(folder / "text_encoder")


def predicted(run: Run, stage: str) -> int:
    """Give the dry run's memory for a stage on this computer."""
    return needs_of(StageParts(run), stage).on_device(Device("", 1 << 50, is_host=True))


def run_stage(run: Run, stage: str) -> None:
    """Run a stage."""
    if stage == "vae":
        run_vae(run)
    elif stage == "alpha-vae":
        run_alpha_vae(run)
    else:
        run_joint(run, stage)


def measure(name: str, assets: Path) -> tuple[int, int]:
    """Return the predicted and the measured bytes of a case, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training_peaks", name, "--assets", str(assets)]
    done = subprocess.run([*command, "--child"], check=True, stdout=subprocess.PIPE, text=True)
    said, took = json.loads(done.stdout.splitlines()[-1])
    return said, took


def _child(name: str, assets: Path) -> None:
    torch.set_num_threads(1)
    case = CASES[name]
    with TemporaryDirectory() as folder:
        run = make_run(case, assets, Path(folder) / "run")
        said = predicted(run, case.stage)
        # The run reads its cached parts while it is measured.
        fresh = replace(run)
        took = extra_peak_bytes(lambda: run_stage(fresh, case.stage))
        json.dump([said, took], sys.stdout)


def main() -> None:
    """Measure the cases that the command line names, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_peaks")
    parser.add_argument("names", nargs="*", metavar="case", help="; ".join(CASES))
    parser.add_argument("--assets", type=Path, default=Path("cache/assets"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments.names[0], arguments.assets)
        return
    print("| case | changed | dry run, MiB | measured, MiB | difference |")
    print("|---|---|---|---|---|")
    for name in arguments.names or CASES:
        said, took = measure(name, arguments.assets)
        print(
            f"| {CASES[name].stage}: {name} | {CASES[name].words} | {said >> 20} | {took >> 20} "
            f"| {100 * (said / took - 1):+.0f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
