"""Every method that `inspect --formats` lists as one in flight, on plain weights in both containers and on experts: it loads
without a reference kernel, packs what it should, stays close to the plain weights, and the fast arithmetic agrees with float32."""

import json
import os
import re
import shutil
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
OF_EXPERTS = ("experts_int8", "int8_per_channel_weight_only")
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
    experts_alone = method in OF_EXPERTS
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


def test_nothing_to_quantize_is_a_warning(run_program, plain_models):
    result = run_program("inspect", plain_models["qwen2"], "-q", "experts_int8")
    assert result.returncode == 0 and "warning: quantization experts_int8: no weight of this model" in result.stderr
    assert "warning" not in run_program("inspect", plain_models["qwen2"], "-q", "rtn").stderr


def with_settings(model, folder, settings):
    """A copy of a folder whose config.json has these settings of quantization."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return folder


def formats_of(result):
    assert result.returncode == 0, result.stderr
    return {module["format"] for module in json.loads(result.stdout)["modules"]}


@pytest.mark.parametrize("settings", [
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
])
def test_settings_that_were_left_behind(run_program, plain_models, tmp_path, settings):
    """As merging an adapter leaves them: the weights are plain."""
    model = with_settings(plain_models["qwen2"], tmp_path / "merged", settings)
    plain = run_program("inspect", model, "--json")
    assert formats_of(plain) == {"none"} and "all weights are plain" in plain.stderr
    assert formats_of(run_program("inspect", model, "--json", "-q", settings["quant_method"])) == {"none", settings["quant_method"]}


def test_settings_of_a_method_in_flight_in_the_checkpoint(run_program, plain_models, tmp_path):
    model = with_settings(plain_models["qwen2"], tmp_path / "own", {"quant_method": "rtn", "weight_bits": 4})
    assert formats_of(run_program("inspect", model, "--json")) == {"none", "rtn"}


def test_settings_from_a_file(run_program, plain_models, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('{"bits": 6, "group_size": 128}')
    flags = ["-q", "deepspeedfp", "--quantization-config", file, "--json"]
    assert formats_of(run_program("inspect", plain_models["qwen2"], *flags)) == {"none", "deepspeedfp"}
    file.write_text('{"bits": 7}')
    result = run_program("inspect", plain_models["qwen2"], *flags)
    assert result.returncode == 2 and "expected 4, 6, 8 or 12" in result.stderr


def test_settings_as_a_dataclass(run_python, plain_models):
    program = """
import dataclasses, sys
from packhorse import LLM
@dataclasses.dataclass
class Settings:
    weight_bits: int = 4
    group_size: int = 64
LLM(model=sys.argv[1], quantization="rtn", quantization_config=Settings(), use_tqdm_on_load=False)
try:
    LLM(model=sys.argv[1], quantization="rtn", quantization_config={"weight_bits": object()})
except ValueError as error:
    print(error)
"""
    result = run_python(program, plain_models["qwen2"])
    assert result.returncode == 0 and "quantization_config: cannot be written as JSON" in result.stdout, result.stderr


@pytest.mark.parametrize("method", [method for method in METHODS if method not in OF_EXPERTS])
def test_a_weight_that_is_no_number(run_program, plain_models, tmp_path, method):
    folder = tmp_path / "nan"
    shutil.copytree(plain_models["qwen2"], folder)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    place = 8 + size + json.loads(data[8 : 8 + size])["model.layers.0.mlp.up_proj.weight"]["data_offsets"][0] + 2 * 700
    data[place : place + 2] = b"\x00\x7e"  # NaN in float16
    path.write_bytes(data)
    result = run_program("inspect", folder, *flags_of(method))
    assert result.returncode == 3 and "up_proj" in result.stderr, result.stderr
    assert "cannot be quantized while loading" in result.stderr
