import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

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


def test_the_stubs_are_those_of_the_protos() -> None:
    root = STUBS.parents[2]
    command = [
        "buf",
        "build",
        "--as-file-descriptor-set",
        "--exclude-source-info",
        "--exclude-imports",
        "-o",
        "-",
    ]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    built = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)

    protos = descriptor_pb2.FileDescriptorSet.FromString(built.stdout).file

    assert len(protos) == 4
    for proto in protos:
        stub = descriptor_pb2.FileDescriptorProto()
        pool = descriptor_pool.Default()
        importlib.import_module(proto.name.replace("/", ".").removesuffix(".proto") + "_pb2")
        pool.FindFileByName(proto.name).CopyToProto(stub)
        assert _without_json_names(stub) == _without_json_names(proto), proto.name


def _without_json_names(proto: descriptor_pb2.FileDescriptorProto) -> str:
    lines = str(proto).splitlines()
    return "\n".join(line for line in lines if "json_name" not in line)
