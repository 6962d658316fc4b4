"""Count the imports within each package: `python tools/import_graph.py`.

A room is a folder directly in a package, or a file there. An arrow is an import of one file by
another. Between rooms, all arrows from one room to another count once.
"""

import sys
from pathlib import Path

import grimp
import networkx

ROOT = Path(__file__).parents[1]

PACKAGES = (
    "layert2v_model",
    "layert2v_media",
    "layert2v_training",
    "layert2v_backend",
    "layert2v_client",
    "layert2v_wire",
    "layert2v_domain",
    "blender_addon",
)


def counts(package: str) -> tuple[int, int, int, int, int]:
    """Give files, arrows, rooms, arrows between rooms, and the longest chain of files."""
    found = grimp.build_graph(package, cache_dir=None)
    files = networkx.DiGraph()
    files.add_nodes_from(found.modules)
    for file in found.modules:
        files.add_edges_from((file, used) for used in found.find_modules_directly_imported_by(file))
    rooms = {room for file in files if (room := _room(file))}
    between = {
        (_room(user), _room(used))
        for user, used in files.edges
        if _room(user) and _room(used) and _room(user) != _room(used)
    }
    chain = networkx.dag_longest_path_length(networkx.condensation(files))
    return len(files), files.number_of_edges(), len(rooms), len(between), chain


def _room(file: str) -> str:
    parts = file.split(".")
    return parts[1] if len(parts) > 1 else ""


def main() -> None:
    """Print a table."""
    sys.path.insert(0, str(ROOT))  # the add-on is not installed
    print("| package | files | arrows | rooms | arrows between rooms | longest chain |")
    print("|---|---|---|---|---|---|")
    for package in PACKAGES:
        print(f"| {package} | {' | '.join(map(str, counts(package)))} |")


if __name__ == "__main__":
    main()
