import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks import against_release, layers_price, neighbour, overlap
from benchmarks.models import TOY, make_ours, one_video, plain_twin
from benchmarks.neighbour import Neighbour
from benchmarks.pairs import Pairs
from benchmarks.rows import Row, table
from layert2v_backend.artifacts import ArtifactStore
from support.forked import forked

ROOT = Path(__file__).parents[2]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_a_fresh_model_and_the_librarys_on_its_weights_make_the_same() -> None:
    ours = make_ours(TOY, num_blocks=1)
    latents, text = torch.randn(1, 6, 16, 3, 4, 4), torch.randn(1, 5, 32)
    timestep = torch.tensor([400.0])

    with torch.no_grad():
        plain = plain_twin(ours)(one_video(latents), timestep, text).sample
        layered = ours(latents, timestep, text[:, None].expand(-1, 6, -1, -1)).sample

    torch.testing.assert_close(one_video(layered), plain, atol=1e-5, rtol=1e-5)
    assert plain_twin(ours).proj_out.weight.data_ptr() == ours.proj_out.weight.data_ptr()


def test_the_table_says_whether_a_target_is_met() -> None:
    pairs = Pairs((1.0, 1.2, 1.0), (2.0, 2.0, 2.0))
    rows = [
        Row.paired("growth", "case", "s", "float32", pairs, 0.4),
        Row("growth", "case", "MiB", "float32", 1.0, 2.0),
    ]

    page = table(rows, "a machine")

    assert "| float32 | 1 | 2 | 0.500 | 0.500 to 0.600 | 3 | 0.40 | no |" in page
    assert "| float32 | 1 | 2 | 0.500 |  |  |  |  |" in page


def test_a_neighbour_is_there_from_one_call_to_another() -> None:
    with Neighbour(first_call=1, last_call=2) as neighbour:
        seen: list[bool] = []
        call = neighbour.beside(lambda: seen.append(neighbour.is_there))
        for _ in range(4):
            call()

    assert seen == [False, True, True, False]


def test_a_neighbour_leaves_where_a_call_fails() -> None:
    def fail() -> None:
        raise ArithmeticError

    neighbour = Neighbour(first_call=0, last_call=9)
    with pytest.raises(ArithmeticError), neighbour:
        neighbour.beside(fail)()

    assert not neighbour.is_there


@pytest.mark.slow
def test_overlapped_and_in_sequence_the_same_files_come_out(tmp_path: Path) -> None:
    case = overlap._case(1, 9, steps=1)

    at_once = overlap.overlapped(case, ArtifactStore(tmp_path / "at_once"))

    apart = overlap.apart(case, ArtifactStore(tmp_path / "apart"))
    assert at_once.hashes == apart.hashes


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks need Linux")
def test_benchmarks_run_and_leave_a_json_copy(tmp_path: Path) -> None:
    result = _run("-m", "benchmarks", "growth", "--toy", "--out", str(tmp_path))

    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "benchmarks.json").read_text())
    assert found["benchmarks"].keys() == {"growth"}
    assert found["toy"]
    assert (tmp_path / "benchmarks.md").read_text() in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks need Linux")
@pytest.mark.parametrize("benchmark", [layers_price, against_release, neighbour])
def test_a_benchmark_runs(benchmark: ModuleType) -> None:
    # This runs in another process, because measuring peaks changes how memory is given back.
    with ProcessPoolExecutor(1, forked()) as pool:
        rows = pool.submit(benchmark.rows, toy=True).result()

    assert rows


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what it needs only where it lacks it")
def test_the_gpu_benchmark_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])

    # A sentence as exit code is printed to standard error, and the code is 1.
    with pytest.raises(SystemExit, match="needs a GPU"):
        runpy.run_path(str(ROOT / "benchmarks" / "gpu.py"), run_name="__main__")
