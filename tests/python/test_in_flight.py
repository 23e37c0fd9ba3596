"""Every method that `inspect --formats` lists as one in flight, on plain weights in both containers and on experts: it loads
without a reference kernel, packs what it should, stays close to the plain weights, and the fast arithmetic agrees with float32."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CHECKPOINTS = Path(os.environ.get("PACKHORSE_CHECKPOINTS") or ROOT / "build/checkpoints")
CLI = Path(os.environ.get("PACKHORSE_CLI") or ROOT / "build/packhorse")

SHAPE = "--layers 1 --hidden 512 --intermediate 768 --heads 4 --kv-heads 2 --head-dim 128 --vocab 1031"
SETTINGS = {  # of methods that need some
    "online": {"linear": "fp8_per_channel", "moe": "int8_per_channel_weight_only"},
    "torchao": {"quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_version": 2, "_data": {}}}},
    "deepspeedfp": {"bits": 6, "group_size": 128},
}
COARSE = {"q2_k": 2, "tq1_0": 9, "tq2_0": 9}  # nats; two or three levels for normal numbers
CLOSE = 0.5
ROUGH_INPUTS = {"mxfp4": 0.06}  # of fast against float32, where inputs are rounded too


def methods():
    if not CLI.is_file():
        return []
    listed = json.loads(subprocess.run([CLI, "inspect", "--formats", "--json"], capture_output=True, check=True).stdout)
    return sorted({name for row in listed["methods"] if row["in_flight"] for name in (row["name"], *row["aliases"])})


METHODS = methods()


@pytest.fixture(scope="session")
def plain_models(tmp_path_factory):
    """name: path of plain weights."""
    folder = tmp_path_factory.mktemp("plain")
    made = {"llama.gguf": ("llama", "bf16"), "qwen2": ("qwen2", "f16")}
    for name, (architecture, encoding) in made.items():
        command = ["bench/make_model.py", "--out", folder / name, "--encoding", encoding, "--arch", architecture]
        subprocess.run([sys.executable, *map(str, command), *SHAPE.split()], check=True, capture_output=True, cwd=ROOT)
    return {name: folder / name for name in made} | {"mixtral": CHECKPOINTS / "arch/mixtral"}


def flags_of(method):
    settings = SETTINGS.get(method)
    return ["-q", method, *(["--quantization-config", json.dumps(settings)] if settings else [])]


def score(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["mean_kl"]


@pytest.mark.parametrize("model", ["llama.gguf", "qwen2", "mixtral"])
@pytest.mark.parametrize("method", METHODS)
def test_method(run_program, plain_models, method, model):
    path = plain_models[model]
    if not path.exists():
        pytest.skip(f"{path} is not there")
    inspected = run_program("inspect", path, *flags_of(method), "--json")
    assert inspected.returncode == 0, inspected.stderr
    modules = json.loads(inspected.stdout)["modules"]
    assert not any(module["decode"].startswith("ref.") for module in modules)
    experts_alone = method in ("experts_int8", "int8_per_channel_weight_only")
    block = 32 if re.fullmatch(r"i?t?q\d_.*", method) else 1  # of ggml's types: other rows stay as they are
    for module in modules:
        name = module["name"]
        is_linear = ".layers." in name and not name.endswith(".gate")
        quantized = is_linear and (".experts." in name or not experts_alone) and module["shape"][1] % block == 0
        assert (module["format"] == method) == quantized, name
        assert (module["bits_per_weight"] < 13) == quantized, name

    evaluate = ["eval", path, *flags_of(method), "--json"]
    exact = [*evaluate, "--dtype", "float32"]
    if model == "mixtral":  # a file without words, but with the logits of its plain weights
        cost = score(run_program(*exact, "--reference", path / "reference.safetensors"))
    else:
        text = ["--text", ROOT / "tests/golden/text/eval_4k.txt", *"--max-tokens 64 --ctx 64 --stride 64".split()]
        cost = score(run_program(*exact, *text, "--against", path))
        # Of experts a router's choice may flip.
        assert score(run_program(*evaluate, *text, "--against-dtype", "float32")) < ROUGH_INPUTS.get(method, 6e-3)
    assert cost < COARSE.get(method, CLOSE)
    assert (cost > 1e-9) == any(module["format"] == method for module in modules)


def test_methods_are_listed():
    """Those of the documentation, whatever else there is."""
    assert {"bitsandbytes", "fp8", "fp8_per_channel", "fp8_per_block", "int8_per_channel_weight_only", "mxfp4", "rtn", "inc",
            "experts_int8", "torchao", "deepspeedfp", "bitblas", "online", "q4_0", "q8_0", "q4_k"} <= set(METHODS)
