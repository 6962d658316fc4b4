"""Steps of Wan2.1-1.3B's size on one GPU, random weights in bfloat16: `python benchmarks/gpu.py`.

It measures seconds, the share of the card's own matrix rate, and peak memory. The sizes are one to
three foregrounds at 33 and 81 frames of 832x480, as memory allows. It compares ours with plain Wan
on as many tokens and with the release's approach. It also measures a window (by flex attention too)
and compiled blocks. `--blocks 10` measures a third of the network (ratios stay), and `--seconds`
begins no case after that time. `--toy` only checks on a CPU that it runs. Prints the table and
writes build/benchmarks_gpu.json after every case.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

# A script has its own folder on the path, but not the folder above.
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.flex_window import attend_flex, window_mask
from benchmarks.machine import Machine
from benchmarks.models import TOY, WAN_1_3B, halve, make_ours, one_video, plain_twin
from benchmarks.page import Measured, tables, write_measured
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate, timed
from benchmarks.released_approach import ReleasedApproach
from benchmarks.rows import Row
from layert2v_model.cost.device import measure_device
from layert2v_model.cost.estimate import ModelSize, step_flops
from layert2v_model.network.window import FrameWindow, attend_windowed
from layert2v_model.shot import ShotFormat
from layert2v_model.streams import batch_stream_text, stream_text

NEEDS = """This benchmark needs a GPU that torch can use: torch built for CUDA 12 or later, and
bfloat16 (Ampere or newer). All cases need about 24 GiB of free memory, and smaller cards skip the
cases that do not fit. Run it there as: python benchmarks/gpu.py. `--toy` checks on a CPU that it
runs."""

WAN_VAE = {
    "base_dim": 96,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
}
PRECISION = "bfloat16"
PROMPT_TOKENS, NEGATIVE_TOKENS, GUIDANCE_SCALE = (70, 40, 30), 126, 5.0
"""Tokens of each prompt, as in `against_release`."""
NUM_TEXT_TOKENS = sum(PROMPT_TOKENS)
"""Tokens of text that every stream reads."""


class Bench:
    """One model on one device, with its measured rows."""

    def __init__(self, device: str, *, toy: bool, num_blocks: int, num_pairs: int) -> None:
        self.device, self.toy, self.num_pairs = device, toy, num_pairs
        ours = make_ours(TOY if toy else WAN_1_3B, num_blocks=2 if toy else num_blocks)
        self.ours = halve(ours).to(device)
        self.size = ModelSize(self.ours.config, WAN_VAE, {}, transformer_bytes=2)
        self.rows: list[Row] = []

    @torch.inference_mode()
    def case(self, num_foregrounds: int, num_frames: int) -> None:
        """Measure all variants of one size."""
        width, height = (64, 32) if self.toy else (832, 480)
        shot = ShotFormat(width, height, num_frames, num_foregrounds, 1)
        frames = self.size.grid(shot)[0]
        name = f"S = {shot.num_streams}, {num_frames} frames"
        latents = self._random(1, shot.num_streams, 16, frames, height // 8, width // 8)
        text = self._random(1, shot.num_streams, NUM_TEXT_TOKENS, self.ours.config.text_dim)
        timestep = torch.tensor([500.0], device=self.device)
        read = self.ours.read_text(text)
        video = one_video(latents)
        plain = plain_twin(self.ours, half_time=True)
        calls: dict[str, Callable[[], object]] = {
            "plain": lambda: plain(video, timestep, text[:, 0], return_dict=False),
            "ours": lambda: self.ours(latents, timestep, read, return_dict=False),
        }
        seconds, peaks = self._measured(calls, {"card": self._card_rate})
        self._add(f"{name}, against plain Wan", seconds, peaks, "ours", "plain", (1.05, 1.1))
        flops = step_flops(shot, self.size, NUM_TEXT_TOKENS)
        achieved = tuple(flops / step / 1e12 for step in seconds["ours"])
        share = f"{name}, against the card's matrix rate (wanted: at least half)"
        pairs = Pairs(achieved, tuple(seconds["card"]))
        self.rows.append(Row.paired("gpu", share, "TFLOP/s", PRECISION, pairs))
        self._window(name, calls["ours"])
        if not self.toy or num_foregrounds == 1:  # A CPU compiles for seconds.
            self._flex(name, shot.num_streams, frames, height // 16 * (width // 16))
        if num_foregrounds == 1:
            self._release(name, latents, timestep)

    def _window(self, name: str, step: Callable[[], object]) -> None:
        """Compare a window of 1 with full attention."""

        def within(window: int | None) -> object:
            self.ours.register_to_config(cross_stream_window=window)
            return step()

        calls = {"full": partial(within, None), "near": partial(within, 1)}
        seconds, peaks = self._measured(calls)
        self.ours.register_to_config(cross_stream_window=None)
        self._add(f"{name}, window 1 against full", seconds, peaks, "near", "full", (None, None))

    def _flex(self, name: str, streams: int, frames: int, tokens: int) -> None:
        """Compare flex attention within a window of 1 with three joined attentions."""
        window = FrameWindow(frames, 1)
        query, key, value = (self._random(1, streams, frames, tokens, 12, 128) for _ in range(3))
        mask = window_mask(streams, frames, tokens, 1, query.device)
        calls: dict[str, Callable[[], object]] = {
            "flex": lambda: attend_flex(query, key, value, mask),
            "joined": lambda: attend_windowed(query, key, value, window),
        }
        seconds, peaks = self._measured(calls)
        case = f"{name}, attention of one block within a window of 1, flex against joined"
        self._add(case, seconds, peaks, "flex", "joined", (None, None))

    def _release(self, name: str, latents: torch.Tensor, timestep: torch.Tensor) -> None:
        """Compare a step with guidance with the release's approach."""
        release = ReleasedApproach(self.ours, half_time=True)
        dim = self.ours.config.text_dim
        prompts = [self._random(n, dim) for n in PROMPT_TOKENS]
        negative = self._random(NEGATIVE_TOKENS, dim)
        by_name = dict(zip(("full", "background", "foreground_1"), prompts, strict=True))
        shots = [stream_text(by_name, "released", 1), (negative,) * 4]
        read = self.ours.read_text(*batch_stream_text(shots))
        both, times = latents.expand(2, -1, -1, -1, -1, -1), timestep.expand(2)
        calls: dict[str, Callable[[], object]] = {
            "release": lambda: release.guided(latents, timestep, prompts, negative, GUIDANCE_SCALE),
            "ours": lambda: self.ours(both, times, read, return_dict=False),
        }
        seconds, peaks = self._measured(calls)
        self._add(
            f"{name}, guided, against the release",
            seconds,
            peaks,
            "ours",
            "release",
            (1 / 1.5, 0.6),
        )

    @torch.inference_mode()
    def compiled(self) -> None:
        """Compare compiled blocks with plain ones, for one foreground at 33 frames."""
        shape = (1, 4, 16, 3, 4, 8) if self.toy else (1, 4, 16, 9, 60, 104)
        latents, timestep = self._random(*shape), torch.tensor([500.0], device=self.device)
        read = self.ours.read_text(self._random(1, 4, NUM_TEXT_TOKENS, self.ours.config.text_dim))

        def step(stance: str) -> object:
            with torch.compiler.set_stance(stance):
                return self.ours(latents, timestep, read, return_dict=False)

        self.ours.compile_repeated_blocks(fullgraph=True)
        # With this stance compiled blocks run uncompiled.
        calls = {"eager": partial(step, "force_eager"), "fast": partial(step, "default")}
        seconds, peaks = self._measured(calls)
        self._add("S = 4, 33 frames, compiled", seconds, peaks, "fast", "eager", (None, None))

    @torch.inference_mode()
    def window_agrees(self) -> None:
        """Compare the two formulations of a window on this device's own kernels."""
        query, key, value = (self._random(1, 6, 5, 64, 4, 128) for _ in range(3))
        joined = attend_windowed(query, key, value, FrameWindow(5, 1)).float()
        gathered = attend_windowed(query, key, value, FrameWindow(5, 1), "_native_math").float()
        far = (joined - gathered).abs().max().item()
        case = "window: joined less gathered, against what bfloat16 allows"
        self.rows.append(Row("gpu", case, "largest", PRECISION, far, 0.02, 1.0))

    def _measured(
        self,
        calls: Mapping[str, Callable[[], object]],
        others: Mapping[str, Callable[[], float]] | None = None,
    ) -> tuple[dict[str, list[float]], dict[str, float]]:
        """Measure calls in turn, and other values in the same rounds.

        Returns:
            Seconds, or the other values, by name and round. By name of each call, also the peak in
            GiB beyond the memory allocated before.
        """
        peaks = {name: self._peak(call) for name, call in calls.items()}
        contestants = {name: timed(partial(self._waited, call)) for name, call in calls.items()}
        rounds = 1 if self.toy else self.num_pairs
        return alternate({**contestants, **(others or {})}, rounds, num_warm_ups=0), peaks

    def _card_rate(self) -> float:
        """Measure the card's present rate on square matrices, in TFLOP/s."""
        size = 64 if self.toy else 8192
        return measure_device(self.device, is_half=True, size=size).flops_per_s / 1e12

    def _waited(self, call: Callable[[], object]) -> None:
        call()
        self._wait()

    def _peak(self, call: Callable[[], object]) -> float:
        """Warm up, and return the peak."""
        if self.device == "cpu":
            call()
            return float("nan")
        call()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        self._wait()
        return (torch.cuda.max_memory_allocated() - before) / 2**30

    def _wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self.device, dtype=torch.bfloat16)

    def _add(
        self,
        case: str,
        seconds: Mapping[str, list[float]],
        peaks: Mapping[str, float],
        ours: str,
        baseline: str,
        targets: tuple[float | None, float | None],
    ) -> None:
        steps, memory = Pairs.of(seconds, ours, baseline), (peaks[ours], peaks[baseline])
        self.rows += [
            Row.paired("gpu", case, "step, s", PRECISION, steps, targets[0]),
            Row("gpu", case, "extra peak, GiB", PRECISION, *memory, targets[1]),
        ]


def main() -> None:
    """Measure, or say what hardware is needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toy", action="store_true", help="use toy sizes on the CPU")
    parser.add_argument(
        "--blocks", type=int, default=30, help="blocks of the network, which has 30"
    )
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS, help="timed rounds of each case")
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="begin no case after this many seconds"
    )
    asked = parser.parse_args()
    if not asked.toy and not torch.cuda.is_available():
        sys.exit(NEEDS)
    begun, device = time.monotonic(), "cpu" if asked.toy else "cuda"
    bench = Bench(device, toy=asked.toy, num_blocks=asked.blocks, num_pairs=asked.pairs)
    bench.window_agrees()
    cases: dict[str, Callable[[], None]] = {
        f"{num_foregrounds} foregrounds at {num_frames} frames": partial(
            bench.case, num_foregrounds, 9 if asked.toy else num_frames
        )
        for num_frames in (33, 81)
        for num_foregrounds in (1, 2, 3)
    }
    cases["compiled blocks"] = bench.compiled
    for name, case in cases.items():
        if time.monotonic() - begun > asked.seconds:
            print("the time is up, so the other cases are skipped")
            break
        try:
            case()
        except torch.OutOfMemoryError:
            print(f"{name}: does not fit and is skipped")
        _report(bench, asked)


def _report(bench: Bench, asked: argparse.Namespace) -> None:
    """Print the rows so far and write them."""
    card = "" if asked.toy else torch.cuda.get_device_name()
    measured = {"gpu": Measured(Machine.here(card=card), tuple(bench.rows))}
    print(f"{tables(measured)}\n\n{asked.blocks} blocks of the network", flush=True)
    write_measured(Path("build/benchmarks_gpu.json"), measured, toy=asked.toy)


if __name__ == "__main__":
    main()
