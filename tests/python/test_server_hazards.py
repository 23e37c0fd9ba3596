"""Fault catalogue §3 to §6 against servers of a small model: what goes wrong while they work. Each test ends with a look
at the server: healthy, nothing held, and the same answer as before."""

import json
import re
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from checkpoint_files import llama_weights, write_float_directory
from server import Server

GREEDY = {"prompt": "The quick brown fox", "temperature": 0, "max_tokens": 6, "ignore_eos": True}
CHAT = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 4}
LONG = {**GREEDY, "max_tokens": 200}


def metric(server, name):
    found = re.search(rf"^{name}\{{[^}}]*\}} (\S+)$", server.get("/metrics").text, re.MULTILINE)
    return float(found[1])


def wait_until(is_true):
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def assert_unharmed(server, expected=None):
    assert server.process.poll() is None
    assert server.get("/health").status == 200
    answer = server.post("/v1/completions", GREEDY).json()["choices"][0]["text"]
    assert expected is None or answer == expected
    wait_until(lambda: server.get("/load").json() == {"server_load": 0})
    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"):
        wait_until(lambda name=name: metric(server, name) == 0)


def refusal(answer, status=400):
    assert answer.status == status, (answer.status, answer.text[:500])
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["code"] == status
    return error["message"]


@pytest.fixture(scope="module")
def server(nf4_directory):
    with Server(nf4_directory, "--max-model-len", 256, "--max-num-seqs", 8, "--http-workers", 2) as server:
        server.expected = server.post("/v1/completions", GREEDY).json()["choices"][0]["text"]
        yield server
        assert_unharmed(server, server.expected)


# ---- §3: templates ----------------------------------------------------------


@pytest.mark.parametrize("template, words", [
    ("{% if x %}", "line 1"),
    ("{{ messages | no_such_filter }}", "no_such_filter"),
    ("{% for i in range(1000000000) %}x{% endfor %}", "chat template"),
    ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "chat template exceeded its budget"),
    ("{% set n = namespace(s='x') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}", "chat template"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "chat template"),
    ("{{ ''.__class__.__mro__ }}", "chat template"),
    ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "chat template"),
    ("{{ nobody.name }}", "chat template"),
])  # fmt: skip
def test_fault_062_063_064_templates_harm_their_chats_alone(nf4_directory, template, words):
    with Server(nf4_directory, "--max-model-len", 256, "--chat-template", template) as server:
        for _ in range(2):
            assert words in refusal(server.post("/v1/chat/completions", CHAT))
        assert_unharmed(server)


# ---- §4: the flags reach the server ------------------------------------------


def say(server, *parts):
    """The first line of the answer to bytes on a connection of their own."""
    with server.socket(60) as connection:
        for part in parts:
            connection.sendall(part)
        return connection.makefile("rb").readline().decode().strip()


def test_fault_066_067_069_070_limits_are_those_of_the_flags(nf4_directory):
    flags = ["--header-timeout", 0.3, "--body-timeout", 0.3, "--max-header-kb", 2, "--max-body-mb", 1]
    with Server(nf4_directory, "--max-model-len", 256, *flags) as server:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
        assert say(server, b"GET /hea").startswith("HTTP/1.1 408")
        assert say(server, head + b"Content-Length: 100\r\n\r\n{").startswith("HTTP/1.1 408")
        assert say(server, head + b"X: " + b"x" * 3000).startswith("HTTP/1.1 431")
        assert say(server, b"GET /" + b"x" * 3000).startswith("HTTP/1.1 414")
        assert say(server, head + b"Content-Length: 1048577\r\n\r\n").startswith("HTTP/1.1 413")
        assert_unharmed(server)
    with Server(nf4_directory, "--max-model-len", 256, "--max-body-mb", 1, "--max-bodies-mb", 1) as server:
        with server.socket() as hog:
            hog.sendall(head + b"Content-Length: 1000000\r\n\r\n" + b" " * 990_000)
            wait_until(lambda: "503" in say(server, head + b"Content-Length: 900000\r\n\r\n"))
            assert server.post("/v1/completions", GREEDY).status == 200
        assert_unharmed(server)


def test_fault_075_every_route_asks_for_a_key(nf4_directory):
    docs = (Path(__file__).parents[2] / "docs/server.md").read_text()
    table = docs[docs.index("| route |") : docs.index("Chats, responses, messages")]
    method, routes = "GET", []
    for found in re.finditer(r"\b(GET|POST|DELETE)\b|(?<![\w.])(/[\w/{}]*)", table.split("|---|---|")[1]):
        method = found[1] or method
        if found[2]:
            routes.append((method, found[2].replace("{id}", "some")))
    assert len(routes) > 15
    open_routes = {"/", "/health", "/ping"}
    with Server(nf4_directory, "--max-model-len", 256, "--api-key", "secret") as server:
        for method, path in routes:
            for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "Bearer secrett"}):
                answer = server.request(method, path, {} if method == "POST" else None, headers)
                assert (answer.status == 401) == (path not in open_routes), (method, path, answer.status)


# ---- §5: structured output -----------------------------------------------------

HOSTILE_SCHEMAS = [
    {"$ref": "#"},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"type": "array", "minItems": 10**9},
    {"type": "blob"},
    {"type": "string", "pattern": "(["},
    {"enum": ["x" * (1 << 20)]},
]
HOSTILE_GRAMMARS = [
    "root ::= " + "(" * 60_000 + '"a"' + ")" * 60_000,
    'root ::= root "a" | "b"',
    "root ::= nothing",
    'x ::= "a"',
    'root ::= "a"{1,1000000000}',
    "".join(f'r{i} ::= r{i + 1} "x"\n' for i in range(5000)) + 'r5000 ::= "a"\nroot ::= r0',
]


@pytest.mark.parametrize("schema", HOSTILE_SCHEMAS, ids=lambda schema: str(schema)[:30])
def test_fault_087_schemas(server, schema):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert refusal(server.post("/v1/chat/completions", {**CHAT, "response_format": wanted}))
    assert refusal(server.post("/v1/completions", {**GREEDY, "structured_outputs": {"json": schema}}))
    assert_unharmed(server, server.expected)


@pytest.mark.parametrize("grammar", HOSTILE_GRAMMARS, ids=lambda grammar: grammar[:20])
def test_fault_088_grammars(server, grammar):
    assert refusal(server.post("/v1/completions", {**GREEDY, "structured_outputs": {"grammar": grammar}}))
    assert_unharmed(server, server.expected)


def test_fault_089_nothing_is_unconstrained(server):
    """What has no way on is an error, whole and streamed, and never other text."""
    (token,) = server.post("/tokenize", {"prompt": "7", "add_special_tokens": False}).json()["tokens"][-1:]
    stuck = {**GREEDY, "structured_outputs": {"regex": "[ab]+"}, "allowed_token_ids": [token]}
    answer = server.post("/v1/completions", stuck)
    assert answer.status in (400, 500) and answer.json()["error"]["message"]
    events = list(server.stream("/v1/completions", stuck))
    assert "error" in events[-1] and not any(choice["text"] for event in events[:-1] for choice in event["choices"])
    assert_unharmed(server, server.expected)


# ---- §6: running ---------------------------------------------------------------


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory, nf4_directory, bf16_gguf):
    """A model whose logits are no numbers once it has seen token 500."""
    folder = tmp_path_factory.mktemp("poisoned") / "model"
    weights = llama_weights(bf16_gguf)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    weights["model.embed_tokens.weight"][500] = np.nan
    write_float_directory(folder, nf4_directory, weights, "float32")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return folder


def test_fault_093_logits_that_are_no_numbers(poisoned):
    with Server(poisoned, "--max-model-len", 256, "--max-num-seqs", 8) as server:
        good, bad = {**LONG, "prompt": [5, 6, 7]}, {**LONG, "prompt": [5, 500, 7]}
        expected = server.post("/v1/completions", good).json()["choices"][0]["text"]
        with ThreadPoolExecutor(6) as pool:
            goods = [pool.submit(server.post, "/v1/completions", good) for _ in range(3)]
            bads = [pool.submit(server.post, "/v1/completions", bad) for _ in range(2)]
            events = list(server.stream("/v1/completions", bad))
            for answer in bads:
                assert "failed" in refusal(answer.result(), 500)
            assert events[-1]["error"]["code"] == 500
            assert [a.result().json()["choices"][0]["text"] for a in goods] == [expected] * 3
        assert_unharmed(server)


def test_fault_094_095_a_pool_that_is_too_small(nf4_directory):
    """Eight answers that only fit one after the other, or nearly so."""
    with Server(nf4_directory, "--max-num-seqs", 8, "--max-model-len", 256, "--num-gpu-blocks-override", 20) as server:
        bodies = [{**LONG, "prompt": [10 + i, 20, 30]} for i in range(8)]
        expected = [server.post("/v1/completions", body).json()["choices"][0]["text"] for body in bodies]

        def streamed(body):
            return "".join(event["choices"][0]["text"] for event in server.stream("/v1/completions", body))

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(streamed, bodies)) == expected
        assert metric(server, "vllm:num_preemptions_total") > 0
        assert "256" in refusal(server.post("/v1/completions", {**GREEDY, "prompt": [10] * 250, "max_tokens": 100}))
        assert_unharmed(server)


def held(server):
    """Descriptors and threads."""
    process = Path(f"/proc/{server.process.pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def resident_kib(server):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1])


def drop(server, body, n_bytes, wait_for=b""):
    """Sends the first bytes of a request, waits for a part of the answer, and goes."""
    text = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n".encode()
    with server.socket(60) as connection:
        connection.sendall((head + text)[:n_bytes])
        seen = b""
        while wait_for not in seen and (part := connection.recv(4096)):
            seen += part
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0" if n_bytes % 2 else bytes(8))


def test_fault_097_098_clients_that_leave(server):
    """In the head, in the body, while they wait, in the prompt, between tokens: a thousand times."""
    stream = {**LONG, "stream": True}
    ways = [(LONG, 20), (LONG, 120), (LONG, None), (stream, None), ({**LONG, "n": 8}, None), (stream, None, b"data: ")]
    whole = len(json.dumps(LONG)) + 1000

    def cycle(i):
        body, n_bytes, *rest = ways[i % len(ways)]
        drop(server, body, n_bytes or whole + i % 2, *rest)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cycle, range(100)))
        assert_unharmed(server, server.expected)
        before, memory = held(server), resident_kib(server)
        kept = pool.submit(server.post, "/v1/completions", LONG)
        list(pool.map(cycle, range(1000)))
        text = kept.result().json()["choices"][0]["text"]
    assert_unharmed(server, server.expected)
    assert text == server.post("/v1/completions", LONG).json()["choices"][0]["text"]
    wait_until(lambda: all(now <= then for now, then in zip(held(server), before)))
    assert resident_kib(server) - memory < 32 << 10


def test_fault_102_no_more_memory(nf4_directory):
    """Of an address space that is full: large requests are refused, and small ones go on or are refused."""
    with Server(nf4_directory, "--max-model-len", 256) as server:
        expected = server.post("/v1/completions", GREEDY).json()["choices"][0]["text"]
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        used = int(re.search(r"VmSize:\s+(\d+)", status)[1]) << 10
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_AS)
        for n_more in (0, 1 << 20, 8 << 20, 24 << 20):
            resource.prlimit(server.process.pid, resource.RLIMIT_AS, (used + n_more, hard))
            for n_bytes in (1 << 20, 8 << 20, 30 << 20):
                answer = server.post("/v1/completions", {**GREEDY, "prompt": "a" * n_bytes})
                assert answer.status in (400, 503), answer.text
                answer = server.post("/v1/completions", {**GREEDY, "prompt": [5] * (n_bytes // 8)})
                assert answer.status in (400, 503), answer.text
                answer = server.post("/v1/completions", GREEDY)
                assert answer.status in (200, 503), answer.text
            resource.prlimit(server.process.pid, resource.RLIMIT_AS, (hard, hard))
            assert_unharmed(server, expected)
