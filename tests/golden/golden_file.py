"""Where the writers of this folder leave their tensors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

from checkpoint_files import write_safetensors  # noqa: E402


def save(name, tensors, place=1):
    """Into the file that the program's argument number `place` names, else into this folder's NAME.safetensors."""
    given = sys.argv[place : place + 1]
    write_safetensors(given[0] if given else Path(__file__).with_name(f"{name}.safetensors"), tensors)
