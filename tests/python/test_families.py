"""Every encoding that bench/make_model.py writes, on widths and head sizes of no power of two: it loads without a reference
kernel, and the fast arithmetic agrees with float32."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

from model_writer.gguf_blocks import GGUF_ENCODERS  # noqa: E402
from model_writer.hf_encoders import HF_ENCODERS  # noqa: E402

SHAPE = "--layers 1 --hidden 640 --intermediate 1152 --heads 8 --kv-heads 4 --head-dim 80 --vocab 1031"
IN_BLOCKS_OF_256 = "--layers 1 --hidden 768 --intermediate 1280 --heads 8 --kv-heads 2 --head-dim 96 --vocab 1031"
WIDE_HEADS = "--layers 1 --hidden 256 --intermediate 384 --heads 2 --kv-heads 1 --head-dim 256 --vocab 151936"
# Formats that round activations to 4 bits: a code that moves is a quarter of a number.
ROUGH = ("ct-nvfp4", "ct-mxfp4", "modelopt-nvfp4", "quark-mxfp4")


def shape_of(name):
    large = name.startswith(("iq", "tq")) and name != "iq4_nl" or name.endswith("_k")
    return IN_BLOCKS_OF_256 if large else SHAPE


CASES = [(f"{name}.gguf", name, shape_of(name)) for name in GGUF_ENCODERS]
CASES += [(name, name, SHAPE) for name in HF_ENCODERS]
CASES += [(f"{name}-151936", name, WIDE_HEADS) for name in ("inc-fp8", "gptq-4bit-act-order")]
CASES += [("q4_0-151936.gguf", "q4_0", WIDE_HEADS)]


@pytest.mark.parametrize("name, encoding, shape", CASES, ids=[case[0] for case in CASES])
def test_fast_arithmetic_agrees_with_float32(run_program, tmp_path, name, encoding, shape):
    model = tmp_path / name
    command = [sys.executable, ROOT / "bench/make_model.py", "--out", model, "--encoding", encoding, *shape.split()]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    text = ROOT / "tests/golden/text/eval_4k.txt"
    options = "--max-tokens 64 --ctx 64 --stride 64 --against-dtype float32 --json".split()
    result = run_program("eval", model, "--text", text, *options)
    assert result.returncode == 0, result.stderr
    assert 0 <= json.loads(result.stdout)["mean_kl"] < (0.06 if name in ROUGH else 4e-3)
    inspected = run_program("inspect", model, "--json")
    kernels = {module["decode"] for module in json.loads(inspected.stdout)["modules"]}
    assert kernels and not any(kernel.startswith("ref.") for kernel in kernels)
