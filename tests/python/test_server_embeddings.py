"""Embeddings of `packhorse serve`, asked by OpenAI's own client."""

import base64

import numpy as np
import openai
import pytest

from server import Server

TEXTS = ["The cat sat on the mat.", "A dog barked all night long in the rain.", "Stocks fell."]


@pytest.fixture(scope="module")
def server():
    with Server("demo", "--max-model-len", 512) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def embed(client, given, **options):
    return [np.array(row.embedding) for row in client.embeddings.create(model="demo", input=given, **options).data]


def test_vectors_have_length_one_and_differ(client):
    answer = client.embeddings.create(model="demo", input=TEXTS)
    assert [row.index for row in answer.data] == [0, 1, 2] and answer.object == "list"
    vectors = np.array([row.embedding for row in answer.data])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.all(vectors @ vectors.T - np.eye(3) < 0.9999)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0


def test_a_text_has_the_same_vector_alone_and_in_a_batch(client):
    together = embed(client, TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.allclose(embed(client, text)[0], vector, atol=1e-5)


def test_ids_are_as_good_as_text(server, client):
    ids = server.post("/tokenize", {"prompt": TEXTS[0]}).json()["tokens"]
    expected = embed(client, TEXTS[0])[0]
    assert np.allclose(embed(client, ids)[0], expected, atol=1e-5)
    assert np.allclose(embed(client, [ids, ids])[1], expected, atol=1e-5)


def test_encodings_hold_the_same_numbers(server):
    body = {"input": TEXTS[0]}
    floats = server.post("/v1/embeddings", body).json()["data"][0]["embedding"]
    text = server.post("/v1/embeddings", {**body, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert np.array_equal(np.frombuffer(base64.b64decode(text), "<f4"), np.array(floats, "f4"))


def test_fewer_dimensions_are_the_first_ones(client):
    whole, cut = embed(client, TEXTS[0])[0], embed(client, TEXTS[0], dimensions=16)[0]
    assert cut.shape == (16,)
    assert np.allclose(cut, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-5)


def test_a_conversation_is_what_the_template_makes_of_it(server, client):
    body = {"messages": [{"role": "user", "content": TEXTS[0]}]}

    def of(more, path="/v1/embeddings"):
        answer = server.post(path, {**body, **more})
        assert answer.status == 200, answer.text
        return answer.json()

    for more, begins in (({}, False), ({"add_generation_prompt": True}, True)):
        ids = of({"add_generation_prompt": begins}, "/tokenize")["tokens"]
        answer = of(more)
        assert answer["usage"]["prompt_tokens"] == len(ids)
        assert np.allclose(answer["data"][0]["embedding"], embed(client, ids)[0], atol=1e-5)
    assert len(of({"dimensions": 16})["data"][0]["embedding"]) == 16


def test_normalize_has_two_names(server):
    rows = {}
    for name in ("normalize", "use_activation"):
        body = {"input": TEXTS[0], name: False}
        rows[name] = np.array(server.post("/v1/embeddings", body).json()["data"][0]["embedding"])
    assert np.array_equal(rows["normalize"], rows["use_activation"])
    assert abs(np.linalg.norm(rows["normalize"]) - 1) > 1e-3


def test_the_mean_of_one_token_is_its_last(client):
    one, several = [100], [100, 200, 300]
    mean, last = {"extra_body": {"pooling": "mean"}}, {"extra_body": {"pooling": "last"}}
    assert np.allclose(embed(client, one, **mean)[0], embed(client, one, **last)[0], atol=1e-5)
    assert not np.allclose(embed(client, several, **mean)[0], embed(client, several, **last)[0], atol=1e-2)
    assert np.allclose(embed(client, several)[0], embed(client, several, **last)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": [1.5]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [{}]}, "input"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "dimensions": 10**6}, "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "pooling": "max"}, "pooling"),
        ({"input": "word " * 2000}, "input"),
        ({"input": [5] * 513}, "input"),
        ({"input": "x", "messages": [{"role": "user", "content": "x"}]}, "input"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "word " * 520}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
         "messages[0].content[0].type"),
        ({"input": "x", "encoding_format": "bytes"}, "encoding_format"),
        ({"input": "x", "embed_dtype": "float16"}, "embed_dtype"),
        ({"input": "x", "endianness": "big"}, "endianness"),
        ({"input": "x", "truncation_side": "right"}, "truncation_side"),
    ],
)
def test_what_cannot_be_embedded_is_refused(server, body, parameter):
    answer = server.post("/v1/embeddings", body)
    assert answer.status == 400, answer.text
    assert answer.json()["error"]["param"] == parameter, answer.text
    assert server.get("/health").status == 200


def test_a_flag_decides_where_the_request_does_not(client):
    mean = embed(client, TEXTS[0], extra_body={"pooling": "mean"})[0]
    assert not np.allclose(embed(client, TEXTS[0])[0], mean, atol=1e-3)
    with Server("demo", "--max-model-len", 512, "--pooler-config", '{"pooling_type": "MEAN"}') as other:
        row = other.post("/v1/embeddings", {"input": TEXTS[0]}).json()["data"][0]["embedding"]
    assert np.allclose(row, mean, atol=1e-5)
