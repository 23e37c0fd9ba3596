"""What the package shows: every public name is documented and has types."""

import ast
import inspect
from pathlib import Path

import pytest

import packhorse
from packhorse import _packhorse

FOLDER = Path(packhorse.__file__).parent
STUB = FOLDER / "_packhorse.pyi"


def public_names(path):
    """(name, node) of the public classes and functions that a file defines, and of their methods."""
    todo = [("", node) for node in ast.parse(path.read_text(encoding="utf-8")).body]
    while todo:
        prefix, node = todo.pop(0)
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            todo += [(f"{node.name}.", child) for child in node.body]


FILES = [*sorted(FOLDER.glob("*.py")), STUB]
NAMES = [
    pytest.param(node, id=f"{path.name}:{name}") for path in FILES if path.exists() for name, node in public_names(path)
]


@pytest.mark.parametrize("node", NAMES)
def test_public_names_are_documented(node):
    assert ast.get_docstring(node)


@pytest.mark.parametrize("node", [name for name in NAMES if isinstance(name.values[0], ast.FunctionDef)])
def test_public_functions_have_types(node):
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    untyped = [each.arg for each in arguments if each is not None and each.annotation is None]
    assert untyped in ([], ["self"], ["cls"])
    assert node.returns is not None


def test_the_stub_has_every_name_of_the_extension():
    members = {name: value for name, value in vars(_packhorse).items() if not name.startswith("_")}
    names = set(members)
    for name, value in members.items():
        if inspect.isclass(value):
            names |= {f"{name}.{member}" for member in vars(value) if not member.startswith("_")}
    assert {name for name, _ in public_names(STUB)} == names


def test_every_exported_name_is_there():
    missing = [name for name in packhorse.__all__ if not hasattr(packhorse, name)]
    assert missing == []
    assert (FOLDER / "py.typed").exists()
