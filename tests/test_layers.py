"""Which part of the package may import which: arrows point one way."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmseg_lipcert

PACKAGE = Path(mmseg_lipcert.__file__).parent
NAME = PACKAGE.name

#: Each part may import those of the lines above its own.
LAYERS = [
    {"version"},
    {"utils"},
    {"certificates", "lipschitz", "datasets"},
    {"models", "evaluation", "visualization"},
    {"report"},
    {"engine"},
    {"registration", "registry"},
    {"attacks"},
    {"apis"},
    {"cli"},
    {"__main__"},
]
PARTS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
PARTS -= {"__init__", "__pycache__", ".mim"}

#: What the mathematics may import from outside.
CORE = {"certificates": {"torch", "numpy", "scipy"}}
CORE["lipschitz"] = CORE["certificates"] | {"prettytable"}


def is_ours(module: str) -> bool:
    """Whether an absolute name is the package or a module of it."""
    return module.partition(".")[0] == NAME


def imported(part: str) -> Iterator[tuple[str, str]]:
    """Pairs (file, absolute name of a module) of every import in a part of the package."""
    path = PACKAGE / part
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        parents = (NAME, *file.relative_to(PACKAGE).parent.parts)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = parents[: len(parents) + 1 - node.level] if node.level else ()
                module = ".".join([*base, *filter(None, [node.module])])
                # "from .. import models" imports a part, "from .models import X" names it itself.
                names = [f".{alias.name}" for alias in node.names] if module == NAME else [""]
                yield from ((file.name, module + name) for name in names)


def test_the_package_imports_itself_relatively():
    absolute = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and not node.level and is_ours(node.module))
        or (isinstance(node, ast.Import) and any(is_ours(alias.name) for alias in node.names))
    ]
    assert absolute == []


def test_every_part_has_its_layer():
    listed = [part for layer in LAYERS for part in layer]
    assert sorted(listed) == sorted(PARTS)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_parts_import_what_is_below_them(part):
    height = next(index for index, layer in enumerate(LAYERS) if part in layer)
    allowed = {part, *(lower for layer in LAYERS[:height] for lower in layer)}
    found = {(file, name.split(".")[1]) for file, name in imported(part) if name.startswith(NAME)}
    assert [(file, other) for file, other in found if other not in allowed] == []


@pytest.mark.parametrize("part", CORE)
def test_the_mathematics_import_no_toolbox(part):
    allowed = CORE[part] | set(sys.stdlib_module_names) | {NAME}
    found = {(file, name.split(".")[0]) for file, name in imported(part)}
    assert [(file, other) for file, other in found if other not in allowed] == []


def test_the_wing_of_smoothing_stands_alone():
    shared = {"validation", "metrics", "records"}
    found = {
        (file, name.split(".")[2])
        for file, name in imported("certificates/smoothing")
        if name.startswith(f"{NAME}.certificates.") and name.split(".")[2] != "smoothing"
    }
    assert [(file, other) for file, other in found if other not in shared] == []
