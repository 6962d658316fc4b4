"""The client needs no package that `pip install layert2v` leaves out."""

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "layert2v",
    "layert2v_client",
    "layert2v_domain",
    "layert2v_wire",
    "layert2v_words",
)
PROVIDED_BY = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "google_crc32c": "google-crc32c",
    "grpc": "grpcio",
}
"""Distributions whose modules have other names."""
FOR_SERVERS = "_pb2_grpc.py"
"""Ending of the stubs for grpcio, which the backend alone imports."""


def imported_modules() -> set[str]:
    files = (
        path
        for package in PACKAGES
        for path in (ROOT / "proto" / package).rglob("*.py")
        if not path.name.endswith(FOR_SERVERS)
    )
    modules = set[str]()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(str(node.module))
    return modules


def distribution_of(module: str) -> str:
    first, *rest = module.split(".")
    return PROVIDED_BY.get(".".join([first, *rest[:1]])) or PROVIDED_BY.get(first, first)


def test_the_client_imports_no_package_that_the_project_does_not_depend_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {requirement.split(">=")[0] for requirement in project["dependencies"]}

    needed = {
        distribution_of(module)
        for module in imported_modules()
        if module.split(".")[0] not in sys.stdlib_module_names | set(PACKAGES)
    }

    assert needed <= declared
