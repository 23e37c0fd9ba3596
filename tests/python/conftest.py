"""Where the tests find the program, the checkpoints and a hub cache of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CHECKPOINTS = Path(os.environ.get("PACKHORSE_CHECKPOINTS") or ROOT / "build/checkpoints")
SHARED = Path(os.environ.get("PACKHORSE_SHARED") or ROOT / "../shared")


def find_checkpoint(name):
    """Of the full set, or the copy in the repository."""
    for folder in (CHECKPOINTS / "formats" / name, ROOT / "tests/golden/formats" / name):
        if folder.is_dir():
            return folder
    pytest.skip(f"checkpoint {name} is not there")


@pytest.fixture(scope="session")
def nf4_directory():
    """A small Llama in nf4 with nested absmax, with tokenizer and chat template."""
    return find_checkpoint("bnb-nf4-double")


@pytest.fixture
def without_template(copy_of, nf4_directory):
    """The same without a chat template."""
    directory = copy_of(nf4_directory)
    (directory / "chat_template.jinja").unlink()
    return directory


@pytest.fixture(scope="session")
def bf16_gguf():
    """The same model before it was quantized."""
    return find_checkpoint("gguf-bf16") / "model-bf16.gguf"


@pytest.fixture(scope="session")
def program():
    """Path of the command line."""
    path = Path(os.environ.get("PACKHORSE_CLI") or ROOT / "build/packhorse")
    if not path.is_file():
        pytest.skip("the command line is not built")
    return path


@pytest.fixture
def run_program(program):
    """Runs the command line; standard input is empty unless given."""

    def run(*arguments, stdin="", env=None, timeout=120):
        return subprocess.run(
            [program, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
        )

    return run


@pytest.fixture
def run_python(tmp_path):
    """Runs a program text in a new interpreter: python [-m MODULE] PROGRAM [ARGUMENTS]."""

    def run(text, *arguments, module=None, env=None, timeout=300):
        script = tmp_path / "program.py"
        script.write_text(text)
        command = [sys.executable, *(["-m", module] if module else []), str(script), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, cwd=tmp_path, env={**os.environ, **(env or {})}
        )

    return run


@pytest.fixture
def copy_of(tmp_path):
    """A checkpoint that a test may damage."""

    def copy(directory):
        target = tmp_path / directory.name
        shutil.copytree(directory, target, copy_function=shutil.copyfile)
        return target

    return copy
