"""lm-eval's local-completions: answers chosen by echo + logprobs, answers written, tokens counted by the server."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from installed import program
from server import Server

from packhorse import LLM, SamplingParams

TASKS = Path(__file__).parent / "tasks"


@pytest.fixture(scope="module", params=["text", "tokens"])
def samples(request, tmp_path_factory):
    """{task: samples of lm-eval's log}. Prompts are sent as texts, or as token ids that the server made of them."""
    lm_eval, out = program("lm-eval", "lm_eval"), tmp_path_factory.mktemp("lm_eval")
    with Server("demo") as server:
        settings = {"model": server.get("/v1/models").json()["data"][0]["id"], "num_concurrent": 4,
                    "base_url": f"{server.url}/v1/completions", "tokenizer_backend": "remote",
                    "tokenized_requests": request.param == "tokens"}
        done = subprocess.run(
            [lm_eval, "--model", "local-completions", "--model_args", ",".join(f"{k}={v}" for k, v in settings.items()),
             "--tasks", "capitals_chosen,capitals_written", "--include_path", ".", "--output_path", out, "--log_samples"],
            cwd=TASKS, env={**os.environ, "HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
            capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    for path in out.rglob("samples_*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name.removeprefix("samples_").rsplit("_", 1)[0]] = sorted(lines, key=lambda line: line["doc_id"])
    return found


@pytest.fixture(scope="module")
def llm():
    return LLM("demo")


def log_likelihood(llm, question, choice):
    """Of the engine without a server. lm-eval cuts the tokens of the whole text where those of the question end."""
    tokenizer = llm.get_tokenizer()
    ids = tokenizer.encode(question + choice)
    output, = llm.generate({"prompt_token_ids": ids}, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)
    begin = len(tokenizer.encode(question))
    return sum(entry[token].logprob for token, entry in zip(ids[begin:], output.prompt_logprobs[begin:], strict=True))


def test_chosen_answers_have_the_engines_log_likelihoods(samples, llm):
    assert len(samples["capitals_chosen"]) == 6
    for sample in samples["capitals_chosen"]:
        doc = sample["doc"]
        for choice, (value, _) in zip(doc["choices"], sample["filtered_resps"], strict=True):
            assert float(value) == pytest.approx(log_likelihood(llm, doc["question"], choice), abs=0.1)


def test_chosen_answers_are_right(samples):
    assert sum(sample["acc"] for sample in samples["capitals_chosen"]) >= 5


def test_written_answers_end_at_the_stop_strings(samples):
    answers = [sample["filtered_resps"][0] for sample in samples["capitals_written"]]
    assert len(answers) == 6 and all(answers)
    assert not any(stop in answer for answer in answers for stop in ".,\n")
    assert "Paris" in answers[0]
