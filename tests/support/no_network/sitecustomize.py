"""Keeps tests off the network. Each Python that they start has this folder in its PYTHONPATH.

Python runs only the first `sitecustomize`, so this one runs the next: distributions have their own.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import forbid_network  # noqa: F401 - it watches from here on

_OTHERS = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent.resolve()]
_SPEC = PathFinder.find_spec("sitecustomize", _OTHERS)
if _SPEC is not None and _SPEC.loader is not None:
    _SPEC.loader.exec_module(module_from_spec(_SPEC))
