"""packhorse serve: how it starts, what its settings come from, its access log and its page."""

import json
import os
import socket
import subprocess

import pytest

from checkpoint_files import llama_weights, write_float_directory
from conftest import ROOT
from packhorse import LLM, SamplingParams
from server import Server

GREEDY = {"temperature": 0, "max_tokens": 12, "ignore_eos": True, "return_token_ids": True}


@pytest.fixture(scope="module")
def idle():
    """A server of the demo model that the tests only look at."""
    with Server("demo") as server:
        yield server


def run_serve(program, *arguments, env=None, timeout=60):
    return subprocess.run(
        [program, "serve", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
    )  # fmt: skip


def assert_refused(result, status, *words):
    """One line that says why (fault catalogue C1)."""
    lines = result.stderr.splitlines()
    assert result.returncode == status, result.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for word in words:
        assert word in lines[0], (word, lines[0])


def test_it_is_healthy_once_it_says_that_it_is_ready(idle):
    assert idle.get("/health").status == 200
    assert any(line.startswith("Packhorse ") and "demo ready on http://127.0.0.1:" in line for line in idle.log)


def test_fault_111_a_port_that_is_taken_is_told_before_loading(program):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_serve(program, "no-such-model", "--port", port)  # status 3 when it had looked for that
    assert_refused(result, 5, f"cannot bind 127.0.0.1:{port}: ")


@pytest.mark.parametrize("flags", [("--host", "256.1.1.1"), ("--host", "192.0.2.1"), ("--uds", "/proc/none/socket")])
def test_fault_111_a_bad_address_is_told(program, flags):
    assert_refused(run_serve(program, "no-such-model", "--port", "0", *flags), 5, "cannot bind ", flags[1])


def test_a_model_that_cannot_be_loaded_ends_it(program):
    assert_refused(run_serve(program, "no-such-model", "--port", "0"), 3, "no-such-model")


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--port", "99999"], ["--port", "99999", "65535"]),
        (["--max-queue", "-1"], ["--max-queue"]),
        (["--header-timeout", "soon"], ["--header-timeout", "soon"]),
        (["--ssl-certfile", "x.pem"], ["--ssl-certfile", "x.pem"]),
        (["--ssl-keyfile", "x.pem"], ["--ssl-certfile", "--ssl-keyfile"]),
        (["--allowed-origins", '[1, "a"]'], ["--allowed-origins", "JSON list"]),
        (["--allow-credentials"], ["--allowed-origins"]),
        (["--tool-call-parser", "nobody"], ["--tool-call-parser", "nobody", "hermes"]),
        (["--reasoning-parser", "nobody"], ["--reasoning-parser", "nobody"]),
        (["--tool-call-parser", "nobody"], ["allowed: none, "]),
        (["--log-level", "loud"], ["--log-level", "loud", "critical"]),
        (["-pp", "2"], ["--pipeline-parallel-size", "2"]),
        (["-dp", "2"], ["--data-parallel-size", "2"]),
        (["--access-log-format", "xml"], ["--access-log-format", "xml", "json"]),
        (["--root-path", "api"], ["--root-path", "api"]),
        (["--default-chat-template-kwargs", "[]"], ["--default-chat-template-kwargs"]),
        (["--port", "1", "--port", "2"], ["--port"]),
        (["--prot", "1"], ["--prot", "--port"]),
        (["--lora-modules", "a=b"], ["--lora-modules", "a=b"]),
        (["--enable-lora"], ["--enable-lora"]),
        (["--override-generation-config", "{"], ["override_generation_config", "byte 1"]),
        (["--override-generation-config.temprature", "1"], ["override_generation_config", "temprature", "temperature"]),
        (["--override-generation-config", '{"temperature": 3}'], ["override_generation_config", "temperature", "3"]),
        (["--ssl-ciphers", "x"], ["--ssl-certfile", "--ssl-ciphers"]),
        (["--template-output-mb", "0"], ["--template-output-mb"]),
        (["--pipeline-parallel-size", "2"], ["--pipeline-parallel-size", "2"]),
        (["--config", "no-such-file.yaml"], []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_fault_122_bad_flags_are_told_in_one_line(program, flags, words):
    result = run_serve(program, "no-such-model", *flags)
    assert_refused(result, 5 if "--config" in flags else 2, *words)


def test_without_a_model_it_says_so(program):
    assert_refused(run_serve(program), 2, "MODEL")


def test_sampling_defaults_of_the_flags(nf4_directory):
    flags = ["--max-model-len", "64", "--enable-log-requests", "--override-generation-config.temperature", "0",
             "--override-generation-config.max_new_tokens", "3"]  # fmt: skip
    with Server(nf4_directory, *flags) as server:
        for asked, got in ((None, 3), (2, 2), (9, 3)):
            body = {"prompt": "Hello", "ignore_eos": True, **({"max_tokens": asked} if asked else {})}
            assert server.post("/v1/completions", body).json()["usage"]["completion_tokens"] == got
        server.stop()  # which writes what it has to say
        lines = [line for line in server.log if "max_tokens=" in line]
        assert len(lines) == 3 and all("temperature=0 " in line for line in lines), lines


def test_flags_of_both_spellings_and_without_effect():
    with Server("demo", "--served_model_name", "one", "two", "--max-model-len=1K", "--enforce-eager", "--swap_space", "4",
                "--no-enable-prefix-caching", "-pp", 1, "-dp", 1, "--disable-log-requests", "--num-scheduler-steps", 8,
                "--disable-uvicorn-access-log") as server:  # fmt: skip
        models = server.get("/v1/models").json()["data"]
        assert [model["id"] for model in models] == ["one", "two"] and models[0]["max_model_len"] == 1024
        warned = [line for line in server.log if line.startswith("warning: ")]
        assert sorted(line.split()[1] for line in warned) == [
            "--disable-log-requests:", "--enforce-eager:", "--num-scheduler-steps:", "--swap-space:"]


def test_lists_of_json_flags():
    with Server("demo", "--allowed-origins", '["http://one.example", "http://two.example"]') as server:
        for origin, allowed in (("http://two.example", "http://two.example"), ("http://three.example", None)):
            answer = server.get("/v1/models", {"Origin": origin})
            assert answer.status == 200 and answer.headers.get("access-control-allow-origin") == allowed


def test_members_of_json_flags_are_flags(program):
    result = run_serve(program, "no-such-model", "--port", "0", "--default-chat-template-kwargs.enable_thinking", "false",
                       "--default-chat-template-kwargs.a.b=1")  # fmt: skip
    assert_refused(result, 3, "no-such-model")
    result = run_serve(program, "x", "--default-chat-template-kwargs.a", "1", "--default-chat-template-kwargs.a", "2")
    assert_refused(result, 2, "--default-chat-template-kwargs.a", "more than once")


def write(path, text):
    path.write_text(text)
    return path


def test_a_config_file_beats_the_environment_and_flags_beat_it(tmp_path):
    config = write(tmp_path / "serve.yaml", """
model: demo
served-model-name: [from-file, second]
max_model_len: 512   # in the other spelling
max-num-seqs: 4
api-key: 12345
enforce-eager: true
default-chat-template-kwargs:
  enable_thinking: false
""")  # fmt: skip
    environment = {"PACKHORSE_SERVED_MODEL_NAME": "from-environment", "PACKHORSE_MAX_QUEUE": "7"}
    with Server(None, "--config", config, "--max-model-len", "256", env=environment) as server:
        assert server.get("/v1/models").status == 401
        models = server.get("/v1/models", {"Authorization": "Bearer 12345"}).json()["data"]
        assert [model["id"] for model in models] == ["from-file", "second"]
        assert models[0]["max_model_len"] == 256
        assert not any("12345" in line for line in server.log)


@pytest.mark.parametrize(
    "text, words",
    [
        ("max-modl-len: 5\n", ["max-modl-len", "max-model-len"]),
        ("port: [1, 2]\n", ["port", "list"]),
        ("port: {a: 1}\n", ["port", "mapping"]),
        ("port: 99999\n", ["port", "99999"]),
        ("port: 1\nport: 2\n", ["line 2", "port", "twice"]),
        ("max-queue: 1\nmax_queue: 2\n", ["line 2", "twice"]),
        ("host:\n", ["host"]),
        ("a: &x [1]\nb: *x\n", ["line 1", "anchors"]),
        ("&a x: 1\n", ["anchors"]),
        ("- port\n", ["list"]),
        ("just text\n", ["text"]),
        ("port: [1\n", ["line"]),
        ("a: b: c\n", ["line 1"]),
        ("api-key: {a: {b: 1}}\n", ["api-key", "mapping"]),
        ("api-key: [[1]]\n", ["api-key", "list"]),
        ("? [a]\n: 1\n", ["name"]),
        ("port: 1\n---\nport: 2\n", ["document"]),
        ("quantization-config: " + "{a: " * 40 + "1" + "}" * 40 + "\n", ["deep"]),
        ("quantization-config: " + "[" * 100000 + "\n", ["line"]),
        ("lora-modules: x=y\n", ["lora-modules"]),
        ("x: " + "y" * (1 << 20), ["1048576"]),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_bad_config_files_are_told_in_one_line(program, tmp_path, text, words):
    config = write(tmp_path / "bad.yaml", text)
    assert_refused(run_serve(program, "no-such-model", "--config", config), 2, "bad.yaml", *words)


def test_settings_from_the_environment(program):
    result = run_serve(program, "no-such-model", env={"PACKHORSE_PORT": "99999"})
    assert_refused(result, 2, "PACKHORSE_PORT", "99999")
    with Server("demo", env={"VLLM_API_KEY": "secret-1", "PACKHORSE_MAX_MODEL_LEN": "2K"}) as server:
        assert server.get("/health").status == 200
        assert server.get("/v1/models").status == 401
        answer = server.get("/v1/models", {"Authorization": "Bearer secret-1"}).json()
        assert answer["data"][0]["max_model_len"] == 2048


def test_several_keys():
    with Server("demo", "--api-key", "one", "two", "--api-key", "three") as server:
        statuses = [server.get("/v1/models", {"Authorization": f"Bearer {key}"}).status
                    for key in ("one", "two", "three", "four", "one,two")]  # fmt: skip
        assert statuses == [200, 200, 200, 401, 401]


@pytest.mark.parametrize(
    "name, flags",
    [
        ("bnb-nf4-double", []),
        ("bnb-nf4-double", ["--quantization", "bitsandbytes"]),
        ("bnb-nf4-double", ["--quantization", "bitsandbytes", "--load-format", "bitsandbytes"]),
        ("float", ["--quantization", "bitsandbytes"]),
        ("float", ["--quantization", "bitsandbytes", "--load-format", "bitsandbytes"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "plain",
)
def test_bitsandbytes_as_vllm_documents_it(name, flags, nf4_directory, float_directory):
    """Pre-quantized and in flight, with and without --load-format: the same tokens as LLM gives."""
    directory = nf4_directory if name != "float" else float_directory
    options = {flag.removeprefix("--").replace("-", "_"): value for flag, value in zip(flags[::2], flags[1::2])}
    prompt = "the wide plain"
    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    wanted = LLM(str(directory), **options).generate(prompt, params, use_tqdm=False)[0].outputs[0]
    with Server(directory, *flags) as server:
        answer = server.post("/v1/completions", {"model": str(directory), "prompt": prompt, **GREEDY})
        assert answer.status == 200, answer.text
        choice = answer.json()["choices"][0]
    assert choice["token_ids"] == list(wanted.token_ids)
    assert choice["text"] == wanted.text


@pytest.fixture(scope="module")
def float_directory(tmp_path_factory, nf4_directory, bf16_gguf):
    """The model of nf4_directory before it was quantized."""
    folder = tmp_path_factory.mktemp("float") / "model"
    write_float_directory(folder, nf4_directory, llama_weights(bf16_gguf), "float32")
    return folder


# ---- Logs and pages ----------------------------------------------------------


def test_the_access_log_holds_no_secrets():
    with Server("demo", "--access-log-format", "json", "--api-key", "very-secret") as server:
        headers = {"Authorization": "Bearer very-secret", "X-Request-Id": "my-id"}
        server.post("/v1/completions?token=hidden", {"prompt": "private words", "max_tokens": 2}, headers)
        line = json.loads(server.wait_for_line(lambda line: "my-id" in line))
        assert line["method"] == "POST" and line["path"] == "/v1/completions" and line["status"] == 200
        assert line["client"].startswith("127.0.0.1") and line["seconds"] > 0 and line["request_id"] == "my-id"
        text = "\n".join(server.log)
        assert not any(secret in text for secret in ("very-secret", "hidden", "private"))


def test_paths_without_lines_in_the_access_log():
    with Server("demo", "--disable-access-log-for-endpoints", "/health, /metrics") as server:
        for path in ("/health", "/metrics?a", "/health/x", "/version"):
            server.get(path)
        server.wait_for_line(lambda line: "/version" in line)
        assert [line.split('"')[1] for line in server.log if '"GET ' in line] == ["GET /health/x", "GET /version"]


def test_the_chat_page_is_whole(idle):
    page = idle.get("/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "require-trusted-types-for 'script'" in policy and "unsafe" not in policy
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    names = {path.name for path in (ROOT / "src/app/server/page").iterdir()} - {"index.html"}
    for name, kind in ((name, kinds[name.rsplit(".")[-1]]) for name in names):
        assert f'"{name}"' in page.text
        answer = idle.get(f"/{name}")
        assert answer.status == 200 and answer.headers["content-type"].startswith(kind)
        assert answer.body == (ROOT / "src/app/server/page" / name).read_bytes()
        again = idle.get(f"/{name}", {"If-None-Match": answer.headers["etag"]})
        assert again.status == 304 and again.body == b""
    assert "http://" not in page.text and "https://" not in page.text


def test_the_chat_page_under_a_root_path():
    with Server("demo", "--root-path", "/a/llm") as server:
        bare = server.get("/a/llm")  # relative links of a page would lead to /a/app.js from here
        assert (bare.status, bare.headers["location"]) == (308, "./llm/")
        assert server.get("/a/llm/").body == server.get("/").body
        assert server.get("/a/llm/app.js").status == 200
