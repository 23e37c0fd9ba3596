"""Chat completions of `packhorse serve`, asked by OpenAI's own client."""

import asyncio
import json

import openai
import pydantic
import pytest

from server import Server

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 3}}\n</tool_call>'
HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def server():
    flags = ["--max-model-len", 1024, "--tool-call-parser", "hermes", "--enable-prompt-tokens-details"]
    with Server("demo", *flags) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, messages=HELLO, **options):
    return client.chat.completions.create(
        **{"model": "demo", "messages": messages, "max_tokens": 8, "temperature": 0, **options}
    )


def forced(text):
    """The model has to say exactly this."""
    return {"structured_outputs": {"choice": [text]}}


def collect(stream):
    """Chunks of one answer, put together again: content, calls by index, finish reason."""
    content, calls, finish = "", {}, None
    for chunk in stream:
        for choice in chunk.choices:
            content += choice.delta.content or ""
            for call in choice.delta.tool_calls or []:
                known = calls.setdefault(call.index, {"id": call.id, "name": call.function.name, "arguments": ""})
                known["arguments"] += call.function.arguments or ""
            finish = choice.finish_reason or finish
    return content, calls, finish


def assert_refused(call, parameter):
    with pytest.raises(openai.BadRequestError) as refused:
        call()
    assert refused.value.status_code == 400
    assert refused.value.param == parameter, refused.value.message


def test_an_answer_has_all_of_its_parts(client):
    answer = ask(client)
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion" and answer.model == "demo"
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.message.tool_calls is None
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and 0 < usage.completion_tokens <= 8


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = ask(client, max_tokens=24)
    chunks = list(ask(client, max_tokens=24, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    content, calls, finish = collect(chunks)
    assert content == whole.choices[0].message.content and not calls
    assert finish == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage.model_copy(
        update={"prompt_tokens_details": chunks[-1].usage.prompt_tokens_details}
    )
    assert len({chunk.id for chunk in chunks}) == 1


def test_async_clients_share_the_server(server, client):
    alone = ask(client).choices[0].message.content

    async def one(client):
        stream = await client.chat.completions.create(
            model="demo", messages=HELLO, max_tokens=8, temperature=0, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def many():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none") as client:
            return await asyncio.gather(*[one(client) for _ in range(8)])

    assert asyncio.run(many()) == [alone] * 8


def test_several_answers(client):
    answer = ask(client, n=3, temperature=1.0, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts = {}
    for chunk in ask(client, n=3, temperature=1.0, seed=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert texts == {choice.index: choice.message.content for choice in answer.choices}


def test_logprobs_are_those_of_the_tokens(client):
    options = {"logprobs": True, "top_logprobs": 3, "extra_body": {"return_token_ids": True}}
    choice = ask(client, **options).choices[0]
    tokens = choice.logprobs.content
    assert len(tokens) == len(choice.token_ids)
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token  # greedy
        assert bytes(token.bytes).decode() == token.token
    streamed = [
        token for chunk in ask(client, stream=True, **options) if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]  # fmt: skip
    assert [token.token for token in streamed] == [token.token for token in tokens]
    assert [token.logprob for token in streamed] == pytest.approx([token.logprob for token in tokens], abs=1e-4)


def test_conversations_with_all_roles(client):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}], "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "noon"},
    ]  # fmt: skip
    template = "{% for m in messages %}[{{ m.role }}:{{ m.content or m.tool_calls[0].function }}]{% endfor %}"
    with Server("demo", "--trust-request-chat-template", "--max-model-len", 512) as trusting:
        body = {"messages": messages, "chat_template": template, "max_tokens": 1, "return_token_ids": True}
        answer = trusting.post("/v1/chat/completions", body)
        assert answer.status == 200, answer.text
        prompt = trusting.post("/detokenize", {"tokens": answer.json()["prompt_token_ids"]}).json()["prompt"]
    assert "[system:Be brief.][user:Hi\nthere][assistant:{'name': 'time', 'arguments': {}}][tool:noon]" in prompt


def test_the_last_message_is_continued(client):
    messages = [*HELLO, {"role": "assistant", "content": "Hello, my"}]
    options = {"add_generation_prompt": False, "continue_final_message": True}
    plain = ask(client, messages, extra_body=options).choices[0].message.content
    echoed = ask(client, messages, extra_body={**options, "echo": True}).choices[0].message.content
    assert echoed == "Hello, my" + plain


class City(pydantic.BaseModel):
    name: str
    is_capital: bool


def test_structured_parse(client):
    answer = client.chat.completions.parse(
        model="demo", messages=[{"role": "user", "content": "Describe Rome."}], response_format=City, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, City)


def test_required_tools_are_called(client):
    for stream in (False, True):
        answer = ask(client, tools=[WEATHER, TIME], tool_choice="required", max_tokens=200, stream=stream,
                     parallel_tool_calls=False)  # fmt: skip
        if stream:
            content, calls, finish = collect(answer)
            name, arguments = calls[0]["name"], calls[0]["arguments"]
            assert not content and len(calls) == 1 and calls[0]["id"]
        else:
            call = answer.choices[0].message.tool_calls[0]
            name, arguments, finish = call.function.name, call.function.arguments, answer.choices[0].finish_reason
            assert call.id and call.type == "function" and len(answer.choices[0].message.tool_calls) == 1
        assert name in ("weather", "time") and finish == "tool_calls"
        assert isinstance(json.loads(arguments), dict)


def test_a_required_call_that_is_cut_off_is_no_content(client):
    for length in range(1, 8):
        options = {"tools": [WEATHER], "tool_choice": "required", "max_tokens": length}
        message = ask(client, **options).choices[0].message
        assert not message.content, message
        content, _, _ = collect(ask(client, stream=True, **options))
        assert not content


def test_the_second_turn_of_a_tool_conversation(client):
    call = {"id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    for content in ({}, {"content": None}):
        messages = [
            *HELLO,
            {"role": "assistant", **content, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "noon"},
        ]
        assert ask(client, messages).choices[0].message.content


def test_a_named_tool_is_called(client):
    choice = {"type": "function", "function": {"name": "weather"}}
    answer = ask(client, tools=[WEATHER, TIME], tool_choice=choice, max_tokens=100).choices[0]
    arguments = json.loads(answer.message.tool_calls[0].function.arguments)
    assert answer.message.tool_calls[0].function.name == "weather" and answer.finish_reason == "stop"
    assert arguments["city"] in ("Paris", "Rome") and isinstance(arguments["days"], int)
    _, calls, finish = collect(ask(client, tools=[WEATHER, TIME], tool_choice=choice, max_tokens=100, stream=True))
    assert json.loads(calls[0]["arguments"]) == arguments and finish == "stop"


def test_calls_in_the_models_own_notation_are_found(client):
    for text, content in ((CALL, ""), ("I look. " + CALL, "I look.")):
        options = {"tools": [WEATHER], "max_tokens": 100, "extra_body": forced(text)}
        answer = ask(client, **options).choices[0]
        assert [call.function.name for call in answer.message.tool_calls] == ["weather"]
        assert json.loads(answer.message.tool_calls[0].function.arguments) == {"city": "Rome", "days": 3}
        assert (answer.message.content or "").strip() == content and answer.finish_reason == "tool_calls"
        streamed, calls, finish = collect(ask(client, stream=True, **options))
        assert streamed.strip() == content and finish == "tool_calls"
        assert json.loads(calls[0]["arguments"]) == {"city": "Rome", "days": 3}
    plain = ask(client, tools=[WEATHER], tool_choice="none", max_tokens=100, extra_body=forced(CALL)).choices[0]
    assert plain.message.content == CALL and plain.message.tool_calls is None and plain.finish_reason == "stop"


def test_reasoning_is_told_apart():
    with Server("demo", "--reasoning-parser", "deepseek_r1", "--max-model-len", 512) as thinking:
        body = {"messages": HELLO, "max_tokens": 6, "temperature": 0, "ignore_eos": True, "logprobs": True}
        answer = thinking.post("/v1/chat/completions", body).json()
        message = answer["choices"][0]["message"]
        assert message["reasoning"] == message["reasoning_content"] and message["reasoning"]
        assert message["content"] is None
        assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 6}
        chunks = list(thinking.stream("/v1/chat/completions", body))
        streamed = "".join(chunk["choices"][0]["delta"].get("reasoning", "") for chunk in chunks)
        assert streamed == message["reasoning"]
        hidden = thinking.post("/v1/chat/completions", {**body, "include_reasoning": False}).json()["choices"][0]
        assert hidden["message"]["reasoning"] is None and hidden["logprobs"] is None


def test_template_kwargs_reach_the_template():
    template = "{{ messages[0].content }} {{ enable_thinking }} {{ tone }}"
    flags = ["--chat-template", template, "--default-chat-template-kwargs", '{"tone": "dry", "enable_thinking": true}']
    with Server("demo", *flags, "--max-model-len", 512) as server:
        body = {"messages": HELLO, "max_tokens": 1, "return_token_ids": True}

        def prompt(**more):
            answer = server.post("/v1/chat/completions", {**body, **more}).json()
            return server.post("/detokenize", {"tokens": answer["prompt_token_ids"]}).json()["prompt"]

        assert prompt() == "Say hello. True dry"
        assert prompt(chat_template_kwargs={"tone": "warm"}) == "Say hello. True warm"


def test_fault_065_templates_and_reserved_names(client):
    assert_refused(lambda: ask(client, extra_body={"chat_template": "{{ x }}"}), "chat_template")
    for name in ("tokenize", "messages", "chat_template"):
        assert_refused(
            lambda name=name: ask(client, extra_body={"chat_template_kwargs": {name: "x"}}), "chat_template_kwargs"
        )


def test_fault_082_messages(client):
    assert_refused(lambda: ask(client, []), "messages")
    assert_refused(lambda: ask(client, [{"content": "x"}]), "messages[0].role")
    assert_refused(lambda: ask(client, [{"role": "user", "content": None}]), "messages[0].content")


def test_fault_087_tools(client):
    bad = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
        "x": {"type": "no such type"}}}}}  # fmt: skip
    with pytest.raises(openai.BadRequestError):
        ask(client, tools=[bad], tool_choice="required")
    assert_refused(lambda: ask(client, tools=[WEATHER, WEATHER]), "tools[1]")
    assert_refused(lambda: ask(client, tool_choice="required"), "tool_choice")


def test_fault_090_nothing_is_fetched(client):
    for url in ("file:///etc/passwd", "http://169.254.169.254/latest", "http:\\\\host\\x"):
        part = {"type": "image_url", "image_url": {"url": url}}
        assert_refused(lambda part=part: ask(client, [{"role": "user", "content": [part]}]),
                       "messages[0].content[0].type")  # fmt: skip


def test_auto_needs_a_parser_and_says_so():
    with Server("demo", "--max-model-len", 512) as server:
        refused = server.post("/v1/chat/completions", {"messages": HELLO, "tools": [WEATHER], "max_tokens": 4})
        assert refused.status == 400 and "--tool-call-parser" in refused.json()["error"]["message"]


def test_a_model_without_template(without_template):
    with Server(without_template, "--max-model-len", 128) as server:
        refused = server.post("/v1/chat/completions", {"messages": HELLO})
        assert refused.status == 400
        assert "chat template" in refused.json()["error"]["message"] and str(without_template) not in refused.text


def test_lengths(client):
    assert_refused(lambda: ask(client, max_tokens=10**12), "max_tokens")
    assert_refused(lambda: ask(client, max_tokens=0), "max_tokens")
    assert_refused(lambda: ask(client, max_tokens=None, max_completion_tokens=10**12), "max_completion_tokens")
    assert_refused(lambda: ask(client, logprobs=True, top_logprobs=21), "top_logprobs")
    assert_refused(lambda: ask(client, [{"role": "user", "content": "word " * 2000}]), "messages")
    cut = ask(client, [{"role": "user", "content": "word " * 2000}], extra_body={"truncate_prompt_tokens": 50})
    assert cut.usage.prompt_tokens == 50
