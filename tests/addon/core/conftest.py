"""A fake backend, a session with it and a journal, for tests of the add-on's core."""

import pytest

from blender_addon.core import driver
from blender_addon.core import session as session_module
from blender_addon.core.journal import Journal
from blender_addon.core.session import Session
from support.fake_backend import FakeBackend


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr(driver, "RETRY_DELAY_S", 0.02)
    monkeypatch.setattr(session_module, "PROBE_WHEN_DOWN_S", 0.02)
    with FakeBackend() as running:
        yield running


@pytest.fixture
def session(backend):
    opened = Session(backend.address)
    yield opened
    opened.close()


@pytest.fixture
def journal(tmp_path):
    return Journal.of_media(tmp_path / "layert2v")
