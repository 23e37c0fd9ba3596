"""Answers of `packhorse serve` that have to match something, and may think before."""

import json

import pytest

from server import Server

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Say hello."}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"days": {"enum": [1, 2]}}, "required": ["days"]}}}  # fmt: skip
SCHEMA = {"type": "object", "properties": {"ok": {"enum": [True]}}, "required": ["ok"]}
OPENS = "{{ messages[0].content }}{% if enable_thinking is not false %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}"
ASKS = "{{ messages[0].content }}"  # the model decides whether it thinks


def thinking(template, *more):
    return Server("demo", "--reasoning-parser", "qwen3", "--max-model-len", 512, "--chat-template", template, *more)


@pytest.fixture(scope="module")
def opens():
    with thinking(OPENS) as server:
        yield server


@pytest.fixture(scope="module")
def asks():
    with thinking(ASKS) as server:
        yield server


def tokens_of(server, text):
    return server.post("/tokenize", {"prompt": "x" + text, "add_special_tokens": False}).json()["tokens"][1:]


def only(server, *texts):
    """What stands in these texts, and what ends an answer."""
    ends = tokens_of(server, "<|im_end|><|endoftext|>")
    return sorted({*ends, *(token for text in texts for token in tokens_of(server, text))})


def closing(server, answer):
    """Makes the end of reasoning likely, and `answer` behind it: only their tokens may be chosen."""
    end = tokens_of(server, "</think>")
    return {"allowed_token_ids": only(server, "</think>", "</think>" + answer), "logit_bias": {str(token): 4 for token in end}, "temperature": 2, "max_tokens": 200}


def messages(server, **body):
    answer = server.post(CHAT, {"messages": HELLO, **body}).json()
    assert "choices" in answer, answer
    return [(choice["message"], choice["finish_reason"]) for choice in answer["choices"]]


def streamed(server, **body):
    """The same of a stream with one answer."""
    message, finish = {"reasoning": "", "content": "", "arguments": ""}, None
    for chunk in server.stream(CHAT, {"messages": HELLO, **body}):
        for choice in chunk["choices"]:
            for part in ("reasoning", "content"):
                message[part] += choice["delta"].get(part) or ""
            for call in choice["delta"].get("tool_calls") or []:
                message["arguments"] += call["function"].get("arguments", "")
            finish = choice["finish_reason"] or finish
    return message, finish


CONSTRAINTS = [
    ({"structured_outputs": {"choice": ["yes"]}}, "yes"),
    ({"structured_outputs": {"regex": "yes"}}, "yes"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
      "structured_outputs": None}, '{"ok":true}'),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "text"), CONSTRAINTS, ids=["choice", "regex", "schema"])
def test_what_must_match_comes_behind_the_reasoning(opens, constraint, text):
    n_stopped = 0
    for message, finish in messages(opens, n=8, seed=1, logprobs=True, **constraint, **closing(opens, text + ' {"ok": true}')):
        assert message["reasoning"] or finish == "stop"
        if finish == "stop":
            n_stopped += 1
            assert message["content"].replace(" ", "").replace("\n", "") == text
        else:
            assert text.startswith((message["content"] or "").strip()[:1])
    assert n_stopped > 0


def test_reasoning_that_never_ends_leaves_no_content(opens):
    body = {"max_tokens": 12, "temperature": 0, "structured_outputs": {"choice": ["yes"]}}
    (message, finish), = messages(opens, **body)  # fmt: skip
    assert message["content"] is None and message["reasoning"] and finish == "length"
    message, finish = streamed(opens, **body)
    assert not message["content"] and message["reasoning"] and finish == "length"


def test_required_tools_are_called_behind_the_reasoning(opens):
    near = {"logit_bias": {str(token): 20 for token in tokens_of(opens, "</think>")}, "temperature": 2, "max_tokens": 200}
    n_called = 0
    for name in ("required", {"type": "function", "function": {"name": "weather"}}):
        options = {"tools": [TOOL], "tool_choice": name, "parallel_tool_calls": False, "seed": 2, **near}
        for message, finish in messages(opens, n=4, **options):
            assert not message["content"]
            for made in message.get("tool_calls") or []:
                n_called += finish != "length" and json.loads(made["function"]["arguments"])["days"] in (1, 2)
        message, finish = streamed(opens, **options)
        assert finish == "length" or json.loads(message["arguments"])["days"] in (1, 2)
    assert n_called > 2


def test_a_template_that_closes_reasoning_binds_from_the_start(opens):
    body = {"max_tokens": 12, "temperature": 0, "structured_outputs": {"choice": ["yes"]}}
    for more in ({"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"}):
        (message, finish), = messages(opens, **body, **more)  # fmt: skip
        assert (message["content"], message["reasoning"], finish) == ("yes", None, "stop")


def test_the_beginning_of_an_answer_binds_at_once(asks):
    body = {"messages": [{"role": "assistant", "content": "Well, "}], "continue_final_message": True, "max_tokens": 12,
            "structured_outputs": {"choice": ["yes"]}, "logit_bias": {str(tokens_of(asks, "<think>")[0]): 100}}  # fmt: skip
    assert messages(asks, **body)[0][0]["content"] == "yes"
    del body["continue_final_message"]  # the model might think
    assert messages(asks, **body)[0][0]["reasoning"] is not None


def test_a_marker_of_another_parser_opens_no_reasoning(asks):
    body = {"structured_outputs": {"choice": ["yes"]}, "logit_bias": {str(tokens_of(asks, "<think>")[0]): -100}, "max_tokens": 12}
    for content, answer in (("Hm [THINK]", "yes"), ("Hm <think>", None)):
        (message, _), = messages(asks, messages=[{"role": "user", "content": content}], **body)  # fmt: skip
        assert message["content"] == answer


def test_a_model_may_choose_to_think(asks):
    n_thought = n_direct = 0
    allowed = only(asks, "<think>", "</think>", "<think></think>yes")
    body = {"structured_outputs": {"choice": ["yes"]}, "allowed_token_ids": allowed, "temperature": 2, "max_tokens": 200}
    for seed in range(4):
        for message, finish in messages(asks, n=8, seed=seed, **body):
            if message["reasoning"]:
                n_thought += 1
                assert message["content"] in (None, "yes") or finish == "length"
            else:
                n_direct += 1
                assert (message["content"], finish) == ("yes", "stop")
    assert n_direct + n_thought == 32 and n_direct > 0


def test_completions_have_no_reasoning(opens):
    body = {"prompt": "Hello <think>\n", "max_tokens": 12, "structured_outputs": {"choice": ["yes"]}}
    assert opens.post("/v1/completions", body).json()["choices"][0]["text"] == "yes"


def test_reasoning_may_be_held_to_the_grammar():
    with thinking(OPENS, "--structured-outputs-config.enable_in_reasoning", "true") as server:
        body = {"max_tokens": 12, "temperature": 0, "structured_outputs": {"choice": ["yes"]}}
        (message, finish), = messages(server, **body)  # fmt: skip
        assert (message["content"], message["reasoning"], finish) == ("yes", None, "stop")


def test_a_grammar_that_takes_too_long_is_the_clients_fault(opens):
    body = {"prompt": "x", "structured_outputs": {"regex": "(((([a-z]+)+)+)+)+"}, "max_tokens": 450, "ignore_eos": True}
    for _ in range(2):  # while it is matched, and before
        answer = opens.post("/v1/completions", body)
        error = answer.json()["error"]
        assert answer.status == error["code"] == 400 and error["param"] == "structured_outputs"
        assert "takes too long to match" in error["message"]
    other = {**body, "structured_outputs": {"regex": "(((([a-y]+)+)+)+)+"}}
    events = list(opens.stream("/v1/completions", other))
    assert events[-1]["error"]["code"] == 400 and "too long" in events[-1]["error"]["message"]


def test_nothing_is_reasoning_behind_a_template_that_closed_it():
    """Also for families whose answers begin inside of it."""
    flags = ("--reasoning-parser", "deepseek_r1", "--max-model-len", 512, "--chat-template", ASKS + "<think>\n\n</think>\n\n")
    with Server("demo", *flags) as server:
        answer = server.post(CHAT, {"messages": HELLO, "temperature": 0, "max_tokens": 8}).json()
    message = answer["choices"][0]["message"]
    assert message["content"] and not message.get("reasoning")


def test_the_answer_that_goes_on_tells_whether_it_is_reasoning():
    def go_on(content, **more):
        body = {"messages": [{"role": "assistant", "content": content}], "continue_final_message": True, "max_tokens": 4,
                "add_generation_prompt": False, "temperature": 0}  # fmt: skip
        return server.post(CHAT, body | more).json()["choices"][0]["message"]

    yes = {"structured_outputs": {"choice": ["yes"]}}
    with Server("demo", "--reasoning-parser", "deepseek_r1", "--max-model-len", 512, "--chat-template", ASKS) as server:
        for more in ({}, yes):
            ended = go_on("<think>x</think>Well, I", **more)
            assert ended["content"] and not ended["reasoning"]
            begun = go_on("<think>Let me see", **more)
            assert begun["reasoning"] and not begun["content"]


def test_json_that_was_asked_for_is_no_call():
    wanted = {"type": "object", "properties": {"name": {"enum": ["weather"]}, "parameters": {"enum": [{}]}},
              "required": ["name", "parameters"]}  # fmt: skip
    body = {"messages": HELLO, "tools": [TOOL], "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted}}}
    with Server("demo", "--tool-call-parser", "llama3_json", "--max-model-len", 512) as server:
        choice = server.post(CHAT, body).json()["choices"][0]
    assert json.loads(choice["message"]["content"]) == {"name": "weather", "parameters": {}}
    assert not choice["message"].get("tool_calls") and choice["finish_reason"] == "stop"
