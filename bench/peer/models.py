"""The models that both programs run: the demo in four encodings, and a random model of 0.75 billion parameters in five."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from .program import ROOT, run_quietly


@dataclass(frozen=True)
class Model:
    """`peer` is the file that llama.cpp loads in its place; None when it cannot."""

    label: str
    path: Path
    peer: Path | None
    is_demo: bool = False
    bytes_of: str = ""  # label of the model whose speed per byte it is held against, for want of a peer


def make(target, command):
    """Runs command + [temporary name] unless `target` is there, so that an interrupted run leaves no half model."""
    if target.exists():
        return target
    print(f"making {target}", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"partial-{target.name}")
    run_quietly(command(partial))
    return partial.rename(target)


def demo_path(folder, encoding):
    return folder / f"demo-{encoding.lower()}.gguf"


def demo(folder, encoding, packhorse, quantize):
    """The demo model is in Q4_1; llama-quantize makes the others of it, every matrix in the same encoding."""
    original = Path(json.loads(run_quietly([packhorse, "inspect", "demo", "--json"]))["model"])
    path = original
    if encoding != "Q4_1":
        path = make(demo_path(folder, encoding),
                    lambda partial: [quantize, "--pure", "--allow-requantize", original, partial, encoding])
    return Model(f"demo {encoding}", path, path, is_demo=True)


def random_model(folder, encoding):
    name = f"m750-{encoding.lower()}" + ("" if encoding == "nf4" else ".gguf")
    path = make(folder / name, lambda partial: [sys.executable, ROOT / "bench/make_model.py", "--encoding", encoding,
                                                "--out", partial])
    if encoding == "nf4":
        return Model("0.75B nf4", path, None, bytes_of="0.75B Q4_0")
    return Model(f"0.75B {encoding}", path, path)


def standard_models(folder, packhorse, quantize):
    """In the order of the table; made when missing. `folder` keeps them (4 GB)."""
    return ([demo(folder, encoding, packhorse, quantize) for encoding in ("Q4_0", "Q4_1", "Q8_0", "BF16")]
            + [random_model(folder, encoding) for encoding in ("Q4_K", "Q6_K", "Q4_0", "Q8_0", "nf4")])


def given_model(spec):
    """MODEL, or MODEL=PEER_MODEL; a folder alone has no peer."""
    path, _, peer = spec.partition("=")
    return Model(path, Path(path), Path(peer) if peer else None if Path(path).is_dir() else Path(path))
