"""Programs answer `--help` without reading what takes seconds to read."""

import subprocess
import sys

import pytest

from support.waiting import HANG_S

COMMANDS = {
    "layert2v_backend.cli": ["serve"],
    "layert2v_model.finishing.cli": [],
    "layert2v_model.released.cli": [],
    "layert2v_training.cli": ["joint"],
    "layert2v_training.data_cli": ["build"],
    "layert2v_training.evaluation.cli": [],
}
"""Modules of the programs, and a command whose own help is asked for too."""

HEAVY = {"torch", "diffusers", "transformers", "scipy", "cv2", "av", "OpenEXR", "onnxruntime"}

SCRIPT = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
for words in ([*sys.argv[2:], "--help"], ["--help"], ["--no-such-option"]):
    sys.argv = ["program", *words]
    try:
        module.main()
    except SystemExit:
        pass
print("imported:", *sorted(set(sys.modules) & set({heavy!r})))
"""


@pytest.mark.parametrize("module", COMMANDS)
def test_help_and_wrong_options_are_answered_without_heavy_libraries(module: str) -> None:
    script = SCRIPT.format(heavy=sorted(HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", script, module, *COMMANDS[module]],
        capture_output=True, text=True, check=True, timeout=HANG_S,
    )  # fmt: skip

    assert "--help" in done.stdout
    assert done.stdout.strip().splitlines()[-1] == "imported:"
