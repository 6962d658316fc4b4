"""A backend with a scripted engine, and its client, on a loopback port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend, sketch_settings
from support.scripted_engine import ScriptedEngine
from support.wire_shots import write_sketch_model


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_sketch_model(tmp_path / "models" / "sketch")
    return sketch_settings(tmp_path)


@pytest.fixture
def client(settings: Settings, engine: ScriptedEngine) -> Iterator[Client]:
    with running_backend(settings, engine) as running:
        yield running
