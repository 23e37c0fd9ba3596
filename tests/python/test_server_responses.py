"""The Responses API of `packhorse serve`, asked by OpenAI's own client."""

import json

import openai
import pydantic
import pytest

from server import Server
from test_server_chat import CALL, WEATHER, forced

FUNCTION = {"type": "function", **WEATHER["function"]}


@pytest.fixture(scope="module")
def server():
    with Server("demo", "--max-model-len", 1024, "--tool-call-parser", "hermes") as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, said="Say hello.", **options):
    return client.responses.create(
        **{"model": "demo", "input": said, "max_output_tokens": 8, "temperature": 0, **options}
    )


def test_a_response_has_all_of_its_parts(client):
    response = ask(client, instructions="Be brief.", metadata={"a": "b"})
    assert response.id.startswith("resp_") and response.object == "response" and response.model == "demo"
    assert response.output_text and response.output[0].type == "message"
    assert response.instructions == "Be brief." and response.metadata == {"a": "b"} and response.temperature == 0
    assert response.status in ("completed", "incomplete")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_stream_says_what_the_response_says(client):
    whole = ask(client, max_output_tokens=20)
    events = list(ask(client, max_output_tokens=20, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[1].type] == ["response.created", "response.in_progress"]
    assert events[-1].type == f"response.{whole.status}"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == events[-1].response.output_text


def test_the_sdks_stream_helper_follows(client):
    with client.responses.stream(model="demo", input="Say yes.", max_output_tokens=20, extra_body=forced("yes")) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.output_text.done" in types and types[-1] == "response.completed"
    assert final.output_text == "yes"


def test_calls(client):
    for text in (None, CALL):
        choice = {"tool_choice": "required"} if text is None else {"extra_body": forced(text)}
        options = {"tools": [FUNCTION], "max_output_tokens": 200, "parallel_tool_calls": False, **choice}
        call = ask(client, **options).output[-1]
        assert call.type == "function_call" and call.name == "weather" and call.call_id
        assert json.loads(call.arguments)["city"] in ("Paris", "Rome")
        events = list(ask(client, stream=True, **options))
        pieces = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
        done = [e for e in events if e.type == "response.function_call_arguments.done"]
        assert len(done) == 1 and done[0].arguments == pieces == events[-1].response.output[-1].arguments
    named = ask(client, tools=[FUNCTION], tool_choice={"type": "function", "name": "weather"}, max_output_tokens=200)
    assert named.output[0].name == "weather"


class Answer(pydantic.BaseModel):
    is_yes: bool


def test_text_formats(client):
    parsed = client.responses.parse(model="demo", input="Is it?", text_format=Answer, max_output_tokens=60)
    assert isinstance(parsed.output_parsed, Answer)
    assert ask(client, text={"format": {"type": "json_object"}}).output_text.lstrip().startswith("{")


def test_conversations_go_on(client):
    first = ask(client, "My name is Ann.", instructions="Secret instructions.")
    second = ask(client, "What is my name?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    by_hand = ask(client, [
        {"role": "user", "content": "My name is Ann."},
        *[item.model_dump() for item in first.output],
        {"role": "user", "content": "What is my name?"},
    ])  # fmt: skip
    assert by_hand.usage.input_tokens == second.usage.input_tokens
    assert by_hand.output_text == second.output_text
    assert client.responses.retrieve(first.id).output_text == first.output_text


def test_stored_responses_can_be_deleted_and_missing_ones_are_not_found(client):
    kept, dropped = ask(client), ask(client, store=False)
    assert client.responses.retrieve(kept.id).id == kept.id
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(kept.id)
    client.responses.delete(kept.id)
    for missing in (kept.id, dropped.id, "resp_none"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(missing)
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_none")
    with pytest.raises(openai.NotFoundError):
        ask(client, previous_response_id=kept.id)


def test_an_id_of_the_client_replaces_nothing(client):
    ask(client, extra_body={"request_id": "mine"})
    with pytest.raises(openai.BadRequestError):
        ask(client, extra_body={"request_id": "mine"})


def test_what_is_not_supported_is_refused(client):
    for options in (
        {"background": True},
        {"tools": [{"type": "web_search"}]},
        {"truncation": "auto"},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]},
    ):
        with pytest.raises(openai.BadRequestError):
            ask(client, **options)


def test_errors_name_the_fields_of_responses(client):
    for options, field in (
        ({"max_output_tokens": 10**12}, "max_output_tokens"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"said": "word " * 2000}, "input"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, **options)
        assert refused.value.param == field, refused.value.message


def test_what_max_output_tokens_cuts_off_is_incomplete(client):
    answer = ask(client, max_output_tokens=1)
    assert answer.status == "incomplete" and answer.output[-1].status == "incomplete"


def test_reasoning_is_an_item_of_its_own():
    with Server("demo", "--reasoning-parser", "deepseek_r1", "--max-model-len", 512) as server:
        body = {"input": "Say hello.", "max_output_tokens": 6, "temperature": 0, "ignore_eos": True}
        response = server.post("/v1/responses", body).json()
        assert [item["type"] for item in response["output"]] == ["reasoning"]
        assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == 6
        types = [event["type"] for event in server.stream("/v1/responses", body)]
        assert types.count("response.reasoning_text.delta") > 1 and "response.reasoning_text.done" in types


def test_logprobs(client):
    options = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    part = ask(client, **options).output[0].content[0]
    assert len(part.logprobs) > 0 and all(len(token.top_logprobs) == 2 for token in part.logprobs)
    deltas = [e for e in ask(client, stream=True, **options) if e.type == "response.output_text.delta"]
    assert sum(len(delta.logprobs) for delta in deltas) == len(part.logprobs)
