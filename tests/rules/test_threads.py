"""The suite's processes work on one thread each, so that busy cores only make it slower."""

import subprocess
import sys

import cv2
import torch
from hypothesis import settings

from layert2v_backend.settings import Settings


def test_this_process_and_its_children_have_one_thread_each() -> None:
    code = "import cv2, torch; print(torch.get_num_threads(), cv2.getNumThreads())"

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert child.stdout.split() == ["1", "1"], child.stderr
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert Settings().threads == 1


def test_no_example_of_hypothesis_has_a_deadline() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
