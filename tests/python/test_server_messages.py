"""Anthropic's notation of chats, as `packhorse serve` speaks it."""

import json

import pytest

from server import Server
from test_server_chat import CALL, WEATHER, forced

TOOL = {"name": "weather", "input_schema": WEATHER["function"]["parameters"]}
BODY = {"model": "demo", "max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": "Say hello."}]}

INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@pytest.fixture(scope="module")
def server():
    with Server("demo", "--max-model-len", 1024, "--tool-call-parser", "hermes") as server:
        yield server


def ask(server, **options):
    answer = server.post("/v1/messages", {**BODY, **options})
    assert answer.status == 200, answer.text
    return answer.json()


def test_a_message_has_all_of_its_parts(server):
    message = ask(server, system="Be brief.")
    assert message["type"] == "message" and message["role"] == "assistant" and message["model"] == "demo"
    assert [block["type"] for block in message["content"]] == ["text"]
    assert message["stop_reason"] in ("end_turn", "max_tokens")
    assert message["usage"]["input_tokens"] > 0 and 0 < message["usage"]["output_tokens"] <= 8


def test_a_stream_says_what_the_message_says(server):
    whole = ask(server, max_tokens=20)
    events = list(server.stream("/v1/messages", {**BODY, "max_tokens": 20}))
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    text = "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")
    assert text == whole["content"][0]["text"]
    for usage in (events[0]["message"]["usage"], events[-2]["usage"]):
        assert sum(usage[name] for name in INPUT) == sum(whole["usage"][name] for name in INPUT)
    assert events[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]


def test_calls(server):
    for choice in (
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {"tool_choice": {"type": "tool", "name": "weather"}},
        forced(CALL),
    ):
        options = {"tools": [TOOL], "max_tokens": 200, **choice}
        message = ask(server, **options)
        assert message["stop_reason"] == "tool_use", message
        block = message["content"][-1]
        assert block["type"] == "tool_use" and block["name"] == "weather" and block["id"]
        assert block["input"]["city"] in ("Paris", "Rome")
        events = list(server.stream("/v1/messages", {**BODY, **options}))
        pieces = [e["delta"]["partial_json"] for e in events if e.get("delta", {}).get("type") == "input_json_delta"]
        assert json.loads("".join(pieces)) == block["input"]


def test_results_of_tools_go_back(server):
    messages = [
        *BODY["messages"],
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Rome"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "Sunny."}]},
    ]
    template = "{% for m in messages %}[{{ m.role }}:{{ m.content or m.tool_calls[0].function.name }}]{% endfor %}"
    with Server("demo", "--max-model-len", 512, "--chat-template", template) as plain:
        counted = plain.post("/v1/messages/count_tokens", {"messages": messages}).json()["input_tokens"]
        text = "[user:Say hello.][assistant:weather][tool:Sunny.]"
        expected = plain.post("/tokenize", {"prompt": text, "add_special_tokens": False}).json()["count"]
        assert counted == expected


def test_counts_are_those_of_the_message(server):
    body = {key: BODY[key] for key in ("model", "messages")}
    count = server.post("/v1/messages/count_tokens", body).json()["input_tokens"]
    usage = ask(server)["usage"]
    assert count == usage["input_tokens"] + usage["cache_read_input_tokens"]
    assert usage["cache_creation_input_tokens"] == 0


def test_cached_tokens_are_no_input_tokens(server):
    messages = [{"role": "user", "content": "Count the words of this. " * 20}]
    first, second = (ask(server, messages=messages)["usage"] for _ in range(2))
    assert second["cache_read_input_tokens"] >= 16
    assert second["input_tokens"] == first["input_tokens"] + first["cache_read_input_tokens"] - second[
        "cache_read_input_tokens"]
    start = next(iter(server.stream("/v1/messages", {**BODY, "messages": messages})))["message"]["usage"]
    assert (start["input_tokens"], start["cache_read_input_tokens"]) == (
        second["input_tokens"], second["cache_read_input_tokens"])


def test_stop_sequences(server):
    message = ask(server, stop_sequences=["yes"], **forced("say yes now"), max_tokens=20)
    assert message["stop_reason"] == "stop_sequence" and message["stop_sequence"] == "yes"
    assert message["content"][0]["text"].strip() == "say"


def test_an_output_format_is_kept(server):
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"],
              "additionalProperties": False}  # fmt: skip
    config = {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    message = ask(server, output_config=config, max_tokens=60)
    assert isinstance(json.loads(message["content"][0]["text"])["yes"], bool)


def test_system_messages_in_the_middle_are_read(server):
    messages = [*BODY["messages"], {"role": "system", "content": "Today is Monday."}]
    assert ask(server, messages=messages)["usage"]["input_tokens"]
    count = {part: server.post("/v1/messages/count_tokens", {"messages": messages[:part]}).json()["input_tokens"]
             for part in (1, 2)}  # fmt: skip
    assert 0 < count[2] - count[1] < 12


def test_an_answer_that_was_begun_is_continued(server):
    messages = [*BODY["messages"], {"role": "assistant", "content": "Hello, my"}]
    assert ask(server, messages=messages)["content"][0]["text"]


def test_errors_have_anthropics_shape(server):
    for change, status, kind in (
        ({"messages": []}, 400, "invalid_request_error"),
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"max_tokens": 10**9}, 400, "invalid_request_error"),
        ({"model": "other"}, 404, "not_found_error"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]},
         400, "invalid_request_error"),
    ):  # fmt: skip
        answer = server.post("/v1/messages", {**BODY, **change})
        assert answer.status == status, answer.text
        error = answer.json()
        assert error["type"] == "error" and error["error"]["type"] == kind and error["error"]["message"]
    wrong_method = server.get("/v1/messages")
    assert (wrong_method.status, wrong_method.json()["error"]["type"]) == (405, "invalid_request_error")
    assert server.get("/health").status == 200
