"""`packhorse bench`: fields, tests and models without a tokenizer. Nothing here depends on how fast the machine is."""

import csv
import io
import json
import subprocess
import sys

import pytest

from conftest import ROOT

# What llama-bench (ggml 0.25) prints with -o json and means something here.
LLAMA_BENCH_FIELDS = (
    "build_commit build_number cpu_info gpu_info backends model_filename model_type model_size model_n_params n_batch "
    "n_ubatch n_threads type_k type_v n_gpu_layers n_prompt n_gen n_depth test_time avg_ns stddev_ns avg_ts stddev_ts "
    "samples_ns samples_ts"
).split()
SMALL = ("-p", "16", "-n", "4", "-r", "2", "-t", "1")


@pytest.fixture
def run_bench(run_program):
    def run(*arguments, env=None):
        result = run_program("bench", *arguments, env=env)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout

    return run


@pytest.fixture
def make_model(tmp_path):
    """A tiny random model without a tokenizer."""
    pytest.importorskip("numpy")

    def make(name, encoding, *options):
        path = tmp_path / name
        shape = "--layers 2 --hidden 64 --intermediate 128 --heads 4 --kv-heads 2 --vocab 300 --no-vocab".split()
        command = [sys.executable, ROOT / "bench/make_model.py", "--encoding", encoding, "--out", path, *shape, *options]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return make


def test_json_has_the_fields_of_llama_bench(run_bench, bf16_gguf):
    prefill, decode = json.loads(run_bench(bf16_gguf, *SMALL, "--json"))
    for test in (prefill, decode):
        assert [name for name in test if name in LLAMA_BENCH_FIELDS] == LLAMA_BENCH_FIELDS
        assert test["model_filename"] == str(bf16_gguf)
        assert test["n_threads"] == 1 and test["n_batch"] == 2048 and test["n_sequences"] == 1
        assert test["type_k"] == test["type_v"] == "f16"
        assert len(test["samples_ns"]) == len(test["samples_ts"]) == 2
        assert test["avg_ns"] == pytest.approx(sum(test["samples_ns"]) / 2, abs=1)
        assert test["avg_ts"] == pytest.approx(sum(test["samples_ts"]) / 2)
        tokens = test["n_prompt"] + test["n_gen"]
        assert test["samples_ts"][0] == pytest.approx(tokens * 1e9 / test["samples_ns"][0])
    assert (prefill["n_prompt"], prefill["n_gen"]) == (16, 0)
    assert (decode["n_prompt"], decode["n_gen"]) == (0, 4)
    assert prefill["read_share"] is None
    assert decode["read_bandwidth"] > 0 and decode["read_share"] > 0


@pytest.mark.parametrize("tied", [False, True])
def test_bytes_of_a_token_are_weights_and_kv_cache(run_bench, run_program, make_model, tied):
    path = make_model("tiny.gguf", "q8_0", *(["--tied"] if tied else []))
    info = json.loads(run_program("inspect", path, "--json").stdout)
    embedding = next(module for module in info["modules"] if module["name"] == "model.embed_tokens")
    looked_up = 0 if tied else embedding["bytes"]  # a tied one is read as the head
    assert info["weight_bytes_per_step"] == info["weight_bytes"] - looked_up
    kv_bytes = 2 * 2 * 2 * 16 * 2  # layers, keys and values, heads, dimensions, float16
    assert info["kv_bytes_per_token"] == kv_bytes
    (decode,) = json.loads(run_bench(path, "-p", "0", "-n", "5", "-d", "32", "-r", "1", "-t", "1", "--json"))
    assert decode["read_bytes_per_token"] == info["weight_bytes_per_step"] + (32 + 3) * kv_bytes


def test_table(run_bench, bf16_gguf):
    lines = run_bench(bf16_gguf, *SMALL, "-pg", "8,4", "-d", "0,16", "-s", "1,3", "-b", "8").splitlines()
    names = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert names == ["model", "size", "params", "backend", "threads", "n_batch", "sequences", "test", "t/s"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]
    at_depths = ["pp16", "tg4", "pp8+tg4", "pp16 @ d16", "tg4 @ d16", "pp8+tg4 @ d16"]
    assert [row[7] for row in rows] == at_depths * 2
    assert [row[6] for row in rows] == ["1"] * 6 + ["3"] * 6
    assert all(row[5] == "8" and " ± " in row[8] for row in rows)
    rooflines = [line for line in lines if line.startswith("roofline: ")]
    assert [line.split()[2] for line in rooflines] == ["tg4:", "tg4", "tg4", "tg4"]
    assert all("GB/s that 1 threads read" in line for line in rooflines)
    assert lines[-1].startswith("build: 0.1.0")


def test_lists_of_threads_and_batches(run_bench, bf16_gguf, nf4_directory):
    lines = run_bench(bf16_gguf, nf4_directory, "-p", "8", "-n", "0", "-r", "1", "-t", "1,2", "-b", "4,8", "-o", "jsonl")
    tests = [json.loads(line) for line in lines.splitlines()]
    assert [(test["n_threads"], test["n_batch"]) for test in tests] == [(1, 4), (1, 8), (2, 4), (2, 8)] * 2
    assert [test["model_filename"] for test in tests] == [str(bf16_gguf)] * 4 + [str(nf4_directory)] * 4


def test_csv(run_bench, bf16_gguf):
    rows = list(csv.DictReader(io.StringIO(run_bench(bf16_gguf, *SMALL, "--no-warmup", "-o", "csv"))))
    assert [(row["n_prompt"], row["n_gen"]) for row in rows] == [("16", "0"), ("0", "4")]
    assert list(rows[0])[: len(LLAMA_BENCH_FIELDS) - 2] == [
        name for name in LLAMA_BENCH_FIELDS if not name.startswith("samples")
    ]


def test_gguf_without_a_vocabulary(run_bench, run_program, make_model):
    path = make_model("tiny.gguf", "q8_0")
    refused = run_program("run", path, "-p", "x")
    assert refused.returncode == 3 and "tokenizer" in refused.stderr
    assert len(json.loads(run_bench(path, *SMALL, "--json"))) == 2


def test_folder_without_tokenizer_files(run_bench, make_model):
    path = make_model("tiny", "nf4")
    assert not list(path.glob("tokenizer*"))
    assert len(json.loads(run_bench(path, *SMALL, "--json"))) == 2


@pytest.fixture
def formats(program, tmp_path):
    """Rows of bench/formats of a model of one layer, by family; no model is left behind."""
    pytest.importorskip("numpy")

    def run(families):
        options = ["--families", families, "--layers", "1", "--vocab", "300", "-p", "8", "-n", "2", "-t", "1", "--json"]
        folder = tmp_path / "models"
        command = [sys.executable, ROOT / "bench/formats", "--packhorse", program, "--folder", folder, *options]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert not list(folder.iterdir())
        return json.loads(result.stdout)

    return run


def test_formats_bench(formats):
    rows = formats("gptq-4bit,ct-fp8-dynamic")
    assert list(rows) == ["gguf-q4_0", "gptq-4bit", "ct-fp8-dynamic"]  # the yardstick first
    weights = 1536 * (1536 + 512 + 512 + 1536) + 3 * 1536 * 5120
    tables = 2 * 300 * 1536
    packed_bits = {"gguf-q4_0": (4.5, 4.5, 4.5), "gptq-4bit": (4.15, 4.125, 16), "ct-fp8-dynamic": (8, 8, 16)}
    for name, (file_bits, weight_bits, table_bits) in packed_bits.items():
        row = rows[name]
        assert row["file_bits"] == pytest.approx(file_bits, rel=0.01)
        assert row["weight_bytes"] == pytest.approx((weights * weight_bits + tables * table_bits) / 8, rel=0.01)
        assert row["anonymous_bytes"] > row["weight_bytes"] > row["step_bytes"]
        assert row["bandwidth"] == pytest.approx(row["tg"] * row["step_bytes"])


def test_formats_bench_names_what_it_does_not_know(program):
    pytest.importorskip("numpy")
    command = [sys.executable, ROOT / "bench/formats", "--packhorse", program, "--families", "gptq-4bit,gptq-5bit"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and "unknown gptq-5bit; known: gguf-f32" in result.stderr


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (["-p", "0", "-n", "0"], 2, ["nothing to measure"]),
        (["-p", "1-"], 2, ["--n-prompt", "not a whole number"]),
        (["-pg", "1"], 2, ["--pg", "not two numbers"]),
        (["-d", "8"], 2, ["--n-depth", "multiple of 16"]),
        (["--reptitions", "2"], 2, ["did you mean '--repetitions'"]),
        (["-p", "9999999"], 2, ["max_model_len", "10000000"]),
    ],
)
def test_bad_arguments(run_program, bf16_gguf, arguments, status, words):
    result = run_program("bench", bf16_gguf, *arguments)
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr


def test_too_many_sequences_for_the_cache(run_program, bf16_gguf):
    result = run_program(
        "bench", bf16_gguf, "-p", "16", "-n", "0", "-s", "4", "-t", "1", "--num-gpu-blocks-override", "7"
    )
    assert result.returncode == 4
    assert "KV cache: pp16 with 4 sequences needs" in result.stderr
