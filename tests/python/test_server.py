"""packhorse serve: how it starts, what its settings come from, and how it ends."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from checkpoint_files import llama_weights, write_float_directory
from conftest import ROOT
from packhorse import LLM, SamplingParams
from packhorse.arguments import ACCEPTED, NOT_SUPPORTED, OLD
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
        (["--ssl-certfile", "x.pem"], ["--ssl-keyfile"]),
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
        (["--ssl-ciphers", "x"], ["--ssl-certfile"]),
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


def test_vllms_own_flags_are_known(program):
    """All arguments that the Python side takes for vLLM's sake are flags here: none is 'unknown'."""
    names = {*ACCEPTED, *OLD, *NOT_SUPPORTED} - {"guided_decoding", "numa_bind", "weights_load_device"}
    for name in sorted(names):
        flag = "--" + name.replace("_", "-")
        result = run_serve(program, "no-such-model", "--port", "0", f"{flag}=1")
        assert "unknown option" not in result.stderr, result.stderr


def test_sampling_defaults_of_the_flags(nf4_directory):
    flags = ["--max-model-len", "64", "--enable-log-requests", "--override-generation-config.temperature", "0",
             "--override-generation-config.max_new_tokens", "3"]  # fmt: skip
    with Server(nf4_directory, *flags) as server:
        for asked, got in ((None, 3), (2, 2), (9, 3)):
            body = {"prompt": "Hello", "ignore_eos": True, **({"max_tokens": asked} if asked else {})}
            assert server.post("/v1/completions", body).json()["usage"]["completion_tokens"] == got
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


# ---- How it ends -----------------------------------------------------------

LONG = {"prompt": "Once upon a time", "max_tokens": 4000, "temperature": 0, "ignore_eos": True}


class Reader(threading.Thread):
    """Reads a stream to its end; `began` is set by the first event."""

    def __init__(self, server, body):
        super().__init__(daemon=True)
        self.server, self.body, self.events, self.failure = server, body, [], None
        self.began = threading.Event()
        self.start()

    def run(self):
        try:
            for event in self.server.stream("/v1/completions", self.body):
                self.events.append(event)
                self.began.set()
        except Exception as error:  # what a client would see
            self.failure = error
        self.began.set()


def test_fault_109_sigterm_lets_requests_finish():
    with Server("demo") as server:
        readers = [Reader(server, {**LONG, "max_tokens": 60}) for _ in range(4)]
        assert all(reader.began.wait(60) for reader in readers)
        server.signal(signal.SIGTERM)
        time.sleep(0.2)
        if server.process.poll() is None:
            health = server.get("/health").status
            assert health == 503
            late = server.post("/v1/completions", {**LONG, "max_tokens": 1})
            assert late.status == 503 and "retry-after" in late.headers
        assert server.wait(60) == 0
        for reader in readers:
            reader.join(10)
            assert reader.failure is None
            assert reader.events[-1]["choices"][0]["finish_reason"] == "length"


def test_fault_109_what_takes_too_long_is_ended_with_an_error_event():
    with Server("demo", "--shutdown-timeout", "0.5") as server:
        reader = Reader(server, LONG)
        assert reader.began.wait(60)
        n_before = len(reader.events)
        server.signal(signal.SIGTERM)
        assert server.wait(60) == 0
        reader.join(60)
        assert reader.failure is None and "error" in reader.events[-1]
        assert len(reader.events) > n_before + 2  # it went on for a while


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_fault_109_a_second_signal_ends_at_once(number, status):
    with Server("demo", "--shutdown-timeout", "3600") as server:
        reader = Reader(server, LONG)
        assert reader.began.wait(60)
        server.signal(signal.SIGTERM)
        while server.get("/health").status == 200:
            time.sleep(0.01)
        assert server.process.poll() is None
        server.signal(number)
        assert server.wait(60) == status


def test_fault_109_two_signals_at_once(program):
    with Server("demo") as server:
        reader = Reader(server, LONG)
        assert reader.began.wait(60)
        server.signal(signal.SIGSTOP)
        server.signal(signal.SIGINT)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert server.wait(60) in (130, 143)


def test_fault_110_nobody_reads_standard_error(program):
    """It is full; the server goes on, and ends when it is told to."""
    reading, writing = os.pipe()
    command = [program, "serve", "demo", "--port", "0", "--shutdown-timeout", "0.5"]
    process = subprocess.Popen(command, stderr=writing, stdout=subprocess.DEVNULL)
    try:
        port = int(re.search(rb":(\d+) \(loaded", os.read(reading, 4096))[1])
        threading.Thread(target=os.write, args=(writing, bytes(1 << 20)), daemon=True).start()  # never returns
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = json.dumps({"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        connection.getresponse().read(10)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_fault_110_without_requests_it_ends_at_once(number):
    with Server("demo", "--shutdown-timeout", "3600") as server:
        server.signal(number)
        assert server.wait(60) == 0


def state(task):
    """Of a thread: R while it runs."""
    return (task / "stat").read_text().rsplit(")", 1)[1].split()[0]


def test_fault_110_closed_outputs_harm_nothing(program):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f"exec {program} serve demo --port {port} >&- 2>&-"
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL)
    try:
        answers = 0
        for _ in range(300):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answers += connection.recv(100).startswith(b"HTTP/1.1 200")
            except OSError:
                time.sleep(0.1)
            if answers == 20:
                break
        assert answers == 20
        deadline = time.monotonic() + 60
        while any(state(task) == "R" for task in Path(f"/proc/{process.pid}/task").iterdir()):  # it does not spin
            assert time.monotonic() < deadline
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


# ---- Logs and pages ----------------------------------------------------------


def wait_for_line(server, found, timeout=5):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for line in list(server.log):
            if found(line):
                return line
        time.sleep(0.02)
    raise AssertionError(f"no such line in {server.log[-5:]}")


def test_the_access_log_holds_no_secrets():
    with Server("demo", "--access-log-format", "json", "--api-key", "very-secret") as server:
        headers = {"Authorization": "Bearer very-secret", "X-Request-Id": "my-id"}
        server.post("/v1/completions?token=hidden", {"prompt": "private words", "max_tokens": 2}, headers)
        line = json.loads(wait_for_line(server, lambda line: "my-id" in line))
        assert line["method"] == "POST" and line["path"] == "/v1/completions" and line["status"] == 200
        assert line["client"].startswith("127.0.0.1") and line["seconds"] > 0 and line["request_id"] == "my-id"
        text = "\n".join(server.log)
        assert not any(secret in text for secret in ("very-secret", "hidden", "private"))


def test_paths_without_lines_in_the_access_log():
    with Server("demo", "--disable-access-log-for-endpoints", "/health, /metrics") as server:
        for path in ("/health", "/metrics?a", "/health/x", "/version"):
            server.get(path)
        wait_for_line(server, lambda line: "/version" in line)
        assert [line.split('"')[1] for line in server.log if '"GET ' in line] == ["GET /health/x", "GET /version"]


def test_lines_about_garbage_are_few(idle):
    before = len(idle.log)
    for _ in range(50):
        with idle.socket() as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
            connection.recv(1000)
    time.sleep(0.3)
    assert len(idle.log) - before < 15
    assert idle.get("/health").status == 200


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
