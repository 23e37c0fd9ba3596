"""Fault catalogue §5: request bodies and parameters that a server must survive. Each test ends with a look at the server:
healthy, nothing held, and the same answer as before."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from server import Server

PROMPT = "The quick brown fox"
GREEDY = {"prompt": PROMPT, "temperature": 0, "max_tokens": 6, "ignore_eos": True}
CHAT = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 4}

BAD_NUMBERS = ("NaN", "1e999", "-1", str(2**63), '"1"', "true", "[1]", "{}")
NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "length_penalty")
SIGNED = ("presence_penalty", "frequency_penalty")  # -1 is fine
WHOLE = ("n", "best_of", "max_tokens", "min_tokens", "top_k", "seed", "logprobs", "prompt_logprobs", "truncate_prompt_tokens",
         "priority")  # fmt: skip
TAKES_MINUS_ONE = (*SIGNED, "top_k", "seed", "truncate_prompt_tokens", "priority", "logprobs", "prompt_logprobs")


@pytest.fixture(scope="module")
def server(nf4_directory):
    with Server(nf4_directory, "--served-model-name", "tiny", "--max-model-len", 256, "--max-num-seqs", 8) as server:
        server.expected = server.post("/v1/completions", GREEDY).json()["choices"][0]["text"]
        yield server


@pytest.fixture(autouse=True)
def unharmed(server):
    """C4: the process stays up, its answers are the same, and nothing is held."""
    yield
    assert server.process.poll() is None
    assert server.get("/health").status == 200
    assert server.post("/v1/completions", GREEDY).json()["choices"][0]["text"] == server.expected
    assert server.get("/load").json() == {"server_load": 0}
    used = [line for line in server.get("/metrics").text.splitlines() if line.startswith("vllm:num_requests_")]
    assert used and all(float(line.split()[-1]) == 0 for line in used)


def refused(server, body, path="/v1/completions", status=400):
    """The error object of an answer with that status; `body` is fields over a good request, or bytes."""
    if not isinstance(body, bytes):
        body = {**(CHAT if path.endswith("chat/completions") else GREEDY), **body}
    headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else None
    answer = server.post(path, body, headers)
    assert answer.status == status, (answer.status, answer.text[:500])
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["code"] == status
    assert not re.search(r"0x[0-9a-f]{4}|(?<![.\w])/\w|exception|\[json", error["message"]), error  # row 92
    return error


def raw(field, value):
    """A body where the value is not what a JSON writer would make of it."""
    rest = json.dumps({k: v for k, v in GREEDY.items() if k != field})[1:]
    return f'{{"{field}": {value}, {rest}'.encode()


@pytest.mark.parametrize("body", [
    b"", b"{", b'{"prompt": "a",}', b'{"prompt": "a"} {}', b"\xef\xbb\xbf{}", b'{"prompt": "\xff"}', b"[]", b'"a"', b"nul",
    b'{"prompt": "a", "prompt": "b"}', b'{"prompt": ' + b"[" * 3000 + b"]" * 3000 + b"}", b"[" * 100_000, b'{"a":\x00}',
])  # fmt: skip
def test_fault_077_what_is_no_json(server, body):
    for path in ("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"):
        assert "byte " in refused(server, body, path)["message"]


def test_fault_077_a_million_keys(server):
    body = "{" + ",".join(f'"k{i}":0' for i in range(10**6)) + "}"
    assert "byte " in refused(server, body.encode())["message"]


@pytest.mark.parametrize("field", [*NUMBERS, *SIGNED, *WHOLE])
def test_fault_078_each_number(server, field):
    for value in BAD_NUMBERS:
        if value == "-1" and field in TAKES_MINUS_ONE or value == str(2**63) and field == "repetition_penalty":
            continue  # odd, but legal
        if field in NUMBERS + SIGNED and value == "true":
            assert "must be a number" in refused(server, raw(field, value))["message"]
        error = refused(server, raw(field, value))
        assert error["param"] == field, (field, value, error)
    assert server.post("/v1/completions", {**GREEDY, field: None}).status == 200


@pytest.mark.parametrize("field", ["stream", "echo", "ignore_eos", "add_special_tokens", "return_token_ids"])
def test_fault_078_each_flag(server, field):
    for value in (1, 0, "true", [], {}):
        assert refused(server, {field: value})["param"] == field


@pytest.mark.parametrize("field", ["temperature", "top_p", "n", "max_tokens", "max_completion_tokens", "top_logprobs", "seed"])
def test_fault_078_numbers_of_chats(server, field):
    for value in ("x", True, [1], 1.5 if field not in ("temperature", "top_p") else {}):
        assert refused(server, {field: value, "logprobs": True}, "/v1/chat/completions")["param"] == field


@pytest.mark.parametrize(("field", "value"), [
    ("temperature", -1), ("temperature", 10**9), ("top_p", 0), ("top_p", 1.1), ("top_k", -2), ("min_p", 2), ("seed", 2**70),
    ("presence_penalty", 3), ("frequency_penalty", -3), ("repetition_penalty", 0), ("n", 10**9), ("best_of", 10**9), ("n", 129),
    ("use_beam_search", True), ("length_penalty", 2.0), ("vllm_xargs", {"a": 1}), ("suffix", "end"), ("request_id", "x" * 200),
    ("stream_options", {"include_usage": True}), ("cache_salt", ""), ("model", 5),
])  # fmt: skip
def test_fault_079_080_ranges(server, field, value):
    assert refused(server, {field: value})["param"] == field


def test_fault_081_lengths(server):
    for value in (0, -1, 10**12, 2**63 - 1, 256):
        assert refused(server, {"max_tokens": value})["param"] == "max_tokens"
    assert "256" in refused(server, {"max_tokens": 256})["message"]
    assert refused(server, {"max_tokens": 5, "min_tokens": 6})["param"] == "min_tokens"


def test_fault_082_nothing_to_go_on(server):
    for prompt in (None, [], [[]], "", 5, {}, [None], [True], [["a"]], ["a", [5]], [5, "a"], [[5], 5]):
        body = {"prompt": prompt, "add_special_tokens": False}
        if prompt in (["a", [5]],):
            assert server.post("/v1/completions", {**GREEDY, **body}).status == 200  # a mixture is fine
        else:
            assert refused(server, body)["param"] == "prompt", prompt


def test_fault_083_prompts_that_are_too_much(server):
    assert refused(server, {"prompt": "word " * 300})["param"] == "prompt"
    assert refused(server, {"prompt": "word " * 6_000_000})["param"] == "prompt"
    assert refused(server, {"prompt": "a" * 30_000_000})["param"] == "prompt"
    assert refused(server, {"prompt": ["a"] * 100_000})["param"] == "prompt"
    for ids in ([-1], [2**40], [5, 10**6], [2**63], [5.5], [True], [[5], [-1]]):
        assert refused(server, {"prompt": ids})["param"] == "prompt", ids
        assert refused(server, {"tokens": ids}, "/detokenize")["param"] == "tokens"


def test_fault_084_logprobs(server):
    for field in ("logprobs", "prompt_logprobs"):
        for value in (10**6, 21, -2):
            assert refused(server, {field: value})["param"] == field
    assert refused(server, {"prompt_logprobs": 1, "stream": True})["param"] == "prompt_logprobs"


def test_fault_085_stops(server):
    for stop in (["ab"] * 100_000, "x" * 10**6, "", [""], ["a", ""], 5, [5], {}):
        assert refused(server, {"stop": stop})["param"] == "stop"


def test_fault_086_biases(server):
    for bias in ({str(i): 1 for i in range(10**6)}, {"100000000": 1}, {"x": 1}, {"5": "1"}, {"5": True}, {"-5": 1}, [5]):
        assert refused(server, {"logit_bias": bias})["param"] == "logit_bias"
    assert refused(server, raw("logit_bias", '{"5": NaN}'))["param"] == "logit_bias"


def test_fault_090_nothing_is_fetched(server):
    for kind, part in (("image_url", {"url": "http://169.254.169.254/x"}), ("image_url", {"url": "file:///etc/passwd"}),
                       ("input_audio", {"data": "AAAA", "format": "wav"}), ("video_url", {"url": "http:\\\\host"})):  # fmt: skip
        message = {"role": "user", "content": [{"type": kind, kind: part}]}
        refused(server, {"messages": [message]}, "/v1/chat/completions")


def test_fault_091_names(server):
    for name in ("other", "../tiny", "tiny\0"):
        assert refused(server, {"model": name}, status=404)["param"] == "model"
    assert server.post("/v1/completions", {**GREEDY, "nobody_knows": {"a": [1]}}).status == 200


def test_fault_074_content_types(server):
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}):
        answer = server.post("/v1/completions", json.dumps(GREEDY).encode(), headers)
        assert (answer.status, answer.json()["error"]["code"]) == (415, 415)


def test_fault_096_a_full_queue(nf4_directory):
    """Of a server with one place, and seven more to wait in."""
    long = {**GREEDY, "max_tokens": 240, "temperature": 1, "seed": 5, "n": 16}
    with Server(nf4_directory, "--max-num-seqs", 1, "--max-queue", 7, "--max-model-len", 256) as small:
        expected = small.post("/v1/completions", long).json()["choices"][0]["text"]
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(small.post, "/v1/completions", long) for _ in range(8)]
            deadline = time.monotonic() + 30
            while small.get("/load").json()["server_load"] < 8 and time.monotonic() < deadline:
                time.sleep(0.001)
            answer = small.post("/v1/completions", {**GREEDY, "prompt": "word " * 100_000})
            assert answer.status == 503, answer.text  # before its tokens are counted: they are too many
            assert int(answer.headers["retry-after"]) >= 1
            assert not any(a.done() for a in answers)  # it did not wait for those before it
            assert [a.result().json()["choices"][0]["text"] for a in answers] == [expected] * 8
        assert small.post("/v1/completions", GREEDY).status == 200
        page = small.get("/metrics").text
        assert re.search(r"^vllm:admission_rejections_total\{.*\} 1(\.0)?$", page, re.MULTILINE)
