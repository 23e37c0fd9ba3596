"""/v1/completions, the tokenizer's and the status routes, as vLLM's clients use them."""

import pytest

from server import Server

PROMPT = "The quick brown fox"


@pytest.fixture(scope="module")
def server(nf4_directory):
    with Server(nf4_directory, "--served-model-name", "tiny", "alias", "--max-model-len", 256,
                "--enable-prompt-tokens-details") as server:  # fmt: skip
        yield server


def complete(server, **fields):
    """One answer of ten greedy tokens, unless the fields say otherwise."""
    answer = server.post("/v1/completions", {"prompt": PROMPT, "temperature": 0, "max_tokens": 10, "ignore_eos": True, **fields})
    assert answer.status == 200, answer.text
    return answer.json()


def tokenize(server, text, **fields):
    return server.post("/tokenize", {"prompt": text, **fields}).json()["tokens"]


def test_answer_has_vllms_shape(server):
    answer = complete(server, request_id="mine", user="someone", unheard_of=[1])
    assert answer["id"] == "cmpl-mine"
    assert (answer["object"], answer["model"]) == ("text_completion", "tiny")
    n_prompt = len(tokenize(server, PROMPT))
    assert answer["usage"] | {"prompt_tokens_details": None} == {
        "prompt_tokens": n_prompt, "completion_tokens": 10, "total_tokens": n_prompt + 10, "prompt_tokens_details": None,
    }  # fmt: skip
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0
    choice = answer["choices"][0]
    assert (choice["index"], choice["finish_reason"], choice["stop_reason"], choice["logprobs"]) == (0, "length", None, None)


def test_prompts_of_all_kinds(server):
    ids = tokenize(server, PROMPT)
    text = complete(server)["choices"][0]["text"]
    for prompt in (PROMPT, [PROMPT], ids, [ids], [float(i) for i in ids]):
        assert [choice["text"] for choice in complete(server, prompt=prompt)["choices"]] == [text]
    choices = complete(server, prompt=[PROMPT, "Another one", PROMPT])["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert choices[0]["text"] == choices[2]["text"] == text
    assert complete(server, prompt=[ids, ids[:2]])["usage"]["prompt_tokens"] == len(ids) + 2


def test_max_tokens_is_16_by_default(server):
    answer = server.post("/v1/completions", {"prompt": PROMPT, "ignore_eos": True}).json()
    assert answer["usage"]["completion_tokens"] == 16


def test_n_answers_for_each_prompt(server):
    answer = complete(server, prompt=["a", "b"], n=3, best_of=3, temperature=1, seed=7, max_tokens=4)
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    assert answer["usage"]["completion_tokens"] == 24


def test_truncation_keeps_the_end(server):
    ids = tokenize(server, PROMPT)
    answer = complete(server, truncate_prompt_tokens=3, return_token_ids=True)
    assert answer["choices"][0]["prompt_token_ids"] == ids[-3:]
    assert complete(server, prompt=[5] * 5000, truncate_prompt_tokens=-1, max_tokens=1)["usage"]["prompt_tokens"] == 255


def test_stream_is_the_answer_in_pieces(server):
    whole = complete(server, prompt=[PROMPT, "Another"], return_token_ids=True)
    fields = {"prompt": [PROMPT, "Another"], "temperature": 0, "max_tokens": 10, "ignore_eos": True, "return_token_ids": True}
    chunks = list(server.stream("/v1/completions", {**fields, "stream_options": {"include_usage": True}}))
    for index, choice in enumerate(whole["choices"]):
        parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == index]
        assert "".join(part["text"] for part in parts) == choice["text"]
        assert sum((part["token_ids"] for part in parts), []) == choice["token_ids"]
        assert [part["finish_reason"] for part in parts][-2:] == [None, "length"]
        assert parts[0]["prompt_token_ids"] == choice["prompt_token_ids"] and "prompt_token_ids" not in parts[1]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] | {"prompt_tokens_details": None} == whole["usage"] | {"prompt_tokens_details": None}
    assert all(chunk["usage"] is None for chunk in chunks[:-1])

    assert "usage" not in next(server.stream("/v1/completions", fields))
    counts = [
        chunk["usage"]["completion_tokens"]
        for chunk in server.stream("/v1/completions", {**fields, "prompt": PROMPT, "stream_options": {
            "include_usage": True, "continuous_usage_stats": True}})
    ]  # fmt: skip
    assert counts[:10] == list(range(1, 11)) and counts[-1] == 10


def test_empty_options_of_a_stream_need_no_stream(server):
    assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 1, "stream_options": {}}).status == 200


def test_stream_ends_with_done(server):
    answer = server.post("/v1/completions", {"prompt": "a", "max_tokens": 2, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_echo_and_logprobs_as_lm_eval_asks(server):
    """Log-likelihood of a continuation: token ids, echo, one token that is thrown away."""
    ids = tokenize(server, PROMPT + " jumps over the dog")
    answer = complete(server, prompt=ids, echo=True, logprobs=1, max_tokens=1, seed=1234)
    lists = answer["choices"][0]["logprobs"]
    assert {len(values) for values in lists.values()} == {len(ids) + 1}
    assert lists["token_logprobs"][0] is None and lists["top_logprobs"][0] is None
    for token, logprob, top in zip(lists["tokens"][1:], lists["token_logprobs"][1:], lists["top_logprobs"][1:], strict=True):
        assert logprob <= 0 and top[token] >= logprob and max(top.values()) >= logprob
        assert len(top) <= 2
    assert lists["token_logprobs"][-1] == max(lists["top_logprobs"][-1].values())  # greedy

    only = complete(server, prompt=ids, echo=True, logprobs=1, max_tokens=0)
    assert only["usage"]["completion_tokens"] == 0
    assert only["choices"][0]["logprobs"]["token_logprobs"] == lists["token_logprobs"][:-1]
    fields = {"prompt": ids, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    streamed = list(server.stream("/v1/completions", fields))
    assert sum((chunk["choices"][0]["logprobs"]["token_logprobs"] for chunk in streamed), []) == lists["token_logprobs"]


def test_echo_gives_the_prompt_back(server):
    text = complete(server)["choices"][0]["text"]
    assert complete(server, echo=True)["choices"][0]["text"] == PROMPT + text
    assert complete(server, echo=True, max_tokens=0)["choices"][0]["text"] == PROMPT
    ids = tokenize(server, PROMPT, add_special_tokens=False)
    assert complete(server, prompt=ids, echo=True, max_tokens=0)["choices"][0]["text"] == PROMPT


def test_logprobs_in_all_notations(server):
    choice = complete(server, logprobs=3, max_tokens=5, return_token_ids=True)["choices"][0]
    assert all(3 <= len(top) <= 4 for top in choice["logprobs"]["top_logprobs"])
    by_id = complete(server, logprobs=0, max_tokens=5, return_tokens_as_token_ids=True)["choices"][0]["logprobs"]
    assert by_id["tokens"] == [f"token_id:{i}" for i in choice["token_ids"]]
    assert by_id["token_logprobs"] == choice["logprobs"]["token_logprobs"]
    ids = tokenize(server, PROMPT)
    of_prompt = complete(server, prompt_logprobs=1)["choices"][0]["prompt_logprobs"]
    assert of_prompt[0] is None and len(of_prompt) == len(ids)
    for token, entries in zip(ids[1:], of_prompt[1:], strict=True):
        assert entries[str(token)].keys() == {"logprob", "rank", "decoded_token"}


def test_stops(server):
    text = complete(server, max_tokens=30)["choices"][0]["text"]
    word = text[5:9]
    choice = complete(server, max_tokens=30, stop=["never", word])["choices"][0]
    assert choice["text"] == text[: text.index(word)]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", word)
    with_stop = complete(server, max_tokens=30, stop=word, include_stop_str_in_output=True)["choices"][0]
    assert with_stop["text"].endswith(word)
    ids = complete(server, return_token_ids=True)["choices"][0]["token_ids"]
    choice = complete(server, stop_token_ids=[ids[2]])["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", ids[2])


def test_token_rules(server):
    ids = complete(server, return_token_ids=True)["choices"][0]["token_ids"]
    banned = complete(server, return_token_ids=True, logit_bias={str(ids[0]): -100})["choices"][0]["token_ids"]
    assert banned[0] != ids[0]
    only = complete(server, return_token_ids=True, allowed_token_ids=[ids[0]])["choices"][0]["token_ids"]
    assert set(only) == {ids[0]}
    one, other = (complete(server, temperature=1, seed=5, cache_salt=salt)["choices"][0]["text"] for salt in "ab")
    assert one == other


def test_tokenize_and_detokenize(server):
    answer = server.post("/tokenize", {"prompt": PROMPT, "return_token_strs": True}).json()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert answer["max_model_len"] == 256
    assert server.post("/tokenize", {"prompt": PROMPT}).json()["token_strs"] is None
    ids = tokenize(server, PROMPT, add_special_tokens=False)
    assert server.post("/detokenize", {"tokens": ids}).json() == {"prompt": PROMPT}
    chat = {"messages": [{"role": "user", "content": "Hello"}]}
    longer, shorter = (
        server.post("/tokenize", {**chat, "add_generation_prompt": wanted}).json()["tokens"] for wanted in (True, False)
    )
    assert len(longer) > len(shorter) and longer[: len(shorter)] == shorter
    assert len(tokenize(server, "word " * 1000)) > 256  # a count needs no context


def test_tokenizer_info_is_what_lm_eval_reads(server):
    info = server.get("/tokenizer_info").json()
    assert len(tokenize(server, info["eos_token"], add_special_tokens=False)) == 1
    assert {"bos_token", "pad_token", "chat_template"} <= info.keys()


def test_models(server):
    cards = server.get("/v1/models").json()
    assert cards["object"] == "list"
    assert [card["id"] for card in cards["data"]] == ["tiny", "alias"]
    card = cards["data"][0]
    assert (card["owned_by"], card["max_model_len"], card["parent"]) == ("vllm", 256, None)
    assert card["permission"][0]["allow_sampling"] is True
    assert server.get("/v1/models/alias").json() == cards["data"][1]
    assert server.get("/v1/models/none").json()["error"]["code"] == 404
    assert complete(server, model="alias")["model"] == "tiny"


def test_status(server):
    assert server.get("/health").status == server.get("/ping").status == server.post("/ping").status == 200
    assert server.get("/health").body == b""
    assert server.get("/version").json().keys() == {"version"}
    assert server.get("/load").json() == {"server_load": 0}
    metrics = server.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain") and "vllm:num_requests_running" in metrics.text


def test_prompts_are_logged_when_asked_for_alone(nf4_directory):
    for flags, is_there in (([], False), (["--enable-log-requests", "--max-log-len", "9"], True)):
        with Server(nf4_directory, *flags) as server:
            body = {"prompt": "Secret wörds", "max_tokens": 2, "add_special_tokens": False}
            assert server.post("/v1/completions", body).status == 200
            server.stop()
            log = "\n".join(server.log)
        assert ("prompt 'Secret wö...'" in log) == ("max_tokens=2" in log) == is_there, log
        assert "rds" not in log
    with Server(nf4_directory, "--enable-log-requests", "--max-log-len", 0) as server:
        assert server.post("/v1/completions", {"prompt": "Secret", "max_tokens": 2}).status == 200
        server.stop()
        log = "\n".join(server.log)
    assert "max_tokens=2" in log and "S" not in log.partition("prompt '")[2].partition("'")[0]
