import re
from pathlib import Path

import pytest

STUBS = Path(__file__).parents[2] / "proto/layert2v/v1"
OLDEST_RUNTIME = (5, 29, 0)
"""The oldest protobuf another Blender extension may have brought; see docs/design.md."""


@pytest.mark.parametrize("stub", sorted(STUBS.glob("*_pb2.py")), ids=lambda path: path.stem)
def test_generated_code_runs_on_the_oldest_protobuf_that_blender_may_hold(stub: Path) -> None:
    version = re.search(r"Protobuf Python Version: (\d+)\.(\d+)\.(\d+)", stub.read_text())

    assert version is not None
    assert tuple(map(int, version.groups())) <= OLDEST_RUNTIME


def test_every_proto_has_its_stubs() -> None:
    protos = {path.stem for path in STUBS.glob("*.proto")}
    stubs = {path.stem.removesuffix("_pb2") for path in STUBS.glob("*_pb2.py")}

    assert protos == stubs


def test_the_generator_is_pinned() -> None:
    script = (STUBS.parents[1] / "generate.sh").read_text()

    assert '"grpcio-tools==1.71.2"' in script
