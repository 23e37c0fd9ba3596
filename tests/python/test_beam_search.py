"""Beam search: the algorithm on a small table of probabilities, and LLM.beam_search on a real checkpoint."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from packhorse import LLM, BeamSearchParams, Logprob, SamplingParams, VLLMValidationError
from packhorse.beam_search import BeamSearcher, get_beam_search_score
from packhorse.inputs import ParsedPrompt

EOS, VOCABULARY = 0, 5


class Tokenizer:
    eos_token_id = EOS

    def encode(self, text):
        return [int(letter) for letter in text]

    def decode(self, token_ids):
        return "".join(map(str, token_ids))


class Chain:
    """A model in which the next token depends on the last one and on the length."""

    def __init__(self, seed):
        weights = np.random.default_rng(seed).gumbel(size=(10, VOCABULARY, VOCABULARY)) * 2
        self.logprobs = weights - np.log(np.exp(weights).sum(axis=2, keepdims=True))
        self.n_calls = 0

    def run(self, prompts, params):
        self.n_calls += 1
        return [SimpleNamespace(outputs=[self.answer(prompt.token_ids, params)]) for prompt in prompts]

    def answer(self, token_ids, params):
        row = self.logprobs[len(token_ids), token_ids[-1]]
        best = np.argsort(-row, kind="stable")[: params.logprobs]
        position = {int(token): Logprob(float(row[token])) for token in best}
        return SimpleNamespace(logprobs=[position], finish_reason="length")

    def score(self, text, length_penalty, n_prompt=1):
        total = sum(self.logprobs[i, text[i - 1], text[i]] for i in range(n_prompt, len(text)))
        return total / (len(text) - (text[-1] == EOS)) ** length_penalty

    def best_texts(self, prompt, params):
        """All texts that can come out, the best first: they end with EOS or have max_tokens."""
        texts = []
        for n in range(1, params.max_tokens + 1):
            for rest in itertools.product(range(VOCABULARY), repeat=n):
                ends = rest[-1] == EOS and not params.ignore_eos
                if (ends or n == params.max_tokens) and (params.ignore_eos or EOS not in rest[:-1]):
                    texts.append([*prompt, *rest])
        return sorted(texts, key=lambda text: self.score(text, params.length_penalty, len(prompt)), reverse=True)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("ignore_eos", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_best(seed, ignore_eos, length_penalty):
    params = BeamSearchParams(200, 3, ignore_eos=ignore_eos, length_penalty=length_penalty)
    chain = Chain(seed)
    (output,) = BeamSearcher(chain.run, params, Tokenizer(), 100).search([ParsedPrompt("34", None)], False)
    expected = chain.best_texts([3, 4], params)[:200]
    assert [beam.tokens for beam in output.sequences] == expected
    for beam, text in zip(output.sequences, expected):
        assert beam.text == "".join(map(str, text)) and len(beam.logprobs) == len(text) - 2
        assert get_beam_search_score(text, beam.cum_logprob, EOS, length_penalty) == pytest.approx(
            chain.score(text, length_penalty, 2)
        )
        assert (beam.finish_reason == "stop") == (text[-1] == EOS and not ignore_eos)
    assert output.sequences[0].orig_prompt == {"prompt_token_ids": [3, 4], "prompt": "34"}


@pytest.mark.parametrize("seed", range(5))
def test_a_narrow_beam_keeps_the_best_of_each_step(seed):
    chain, width = Chain(seed), 2
    beams, ended = [[3]], []
    for _ in range(4):
        longer = [[*beam, token] for beam in beams for token in range(VOCABULARY)]
        # Of each beam the likeliest 2 * width count.
        longer = [text for text in longer if text[-1] in np.argsort(-chain.logprobs[len(text) - 1, text[-2]])[: 2 * width]]
        ended += [text for text in longer if text[-1] == EOS]
        beams = [text for text in longer if text[-1] != EOS]
        beams = sorted(beams, key=lambda text: chain.score(text, 1.0), reverse=True)[:width]
    expected = sorted(ended + beams, key=lambda text: chain.score(text, 1.0), reverse=True)[:width]
    searcher = BeamSearcher(chain.run, BeamSearchParams(width, 4), Tokenizer(), 100)
    (output,) = searcher.search([ParsedPrompt(None, [3])], False)
    assert [beam.tokens for beam in output.sequences] == expected
    assert chain.n_calls == 4  # one request for each beam, all of a step together


def test_the_context_ends_a_beam():
    chain = Chain(1)
    searcher = BeamSearcher(chain.run, BeamSearchParams(2, 9, ignore_eos=True), Tokenizer(), 6)
    (output,) = searcher.search([ParsedPrompt(None, [3, 4])], False)
    assert [len(beam.tokens) for beam in output.sequences] == [6, 6] and chain.n_calls == 4
    assert {beam.finish_reason for beam in output.sequences} == {"length"}


@pytest.fixture(scope="module")
def llm(nf4_directory):
    return LLM(nf4_directory, max_model_len=256, max_logprobs=-1, use_tqdm_on_load=False)


def next_logprobs(llm, token_ids):
    params = SamplingParams(temperature=0, max_tokens=1, logprobs=-1)
    (output,) = llm.generate({"prompt_token_ids": token_ids}, params, use_tqdm=False)
    return {token_id: entry.logprob for token_id, entry in output.outputs[0].logprobs[0].items()}


def test_search_on_a_model(llm):
    prompts = ["Hello there", {"prompt_token_ids": [1, 5, 9]}]
    outputs = llm.beam_search(prompts, BeamSearchParams(beam_width=2, max_tokens=3, ignore_eos=True))
    starts = [llm.get_tokenizer().encode("Hello there"), [1, 5, 9]]
    for start, output in zip(starts, outputs):
        beams = {tuple(start): 0.0}
        for _ in range(3):  # over the whole vocabulary
            longer = {
                (*text, token_id): total + logprob
                for text, total in beams.items()
                for token_id, logprob in next_logprobs(llm, list(text)).items()
            }
            beams = dict(sorted(longer.items(), key=lambda item: item[1], reverse=True)[:2])
        assert [tuple(beam.tokens) for beam in output.sequences] == list(beams)
        for beam, total in zip(output.sequences, beams.values()):
            assert math.isclose(beam.cum_logprob, total, rel_tol=1e-6)
            assert beam.text == llm.get_tokenizer().decode(beam.tokens)


def test_one_beam_is_greedy(llm):
    (output,) = llm.beam_search(["Hello"], BeamSearchParams(beam_width=1, max_tokens=5, ignore_eos=True))
    greedy = SamplingParams(temperature=0, max_tokens=5, ignore_eos=True)
    (expected,) = llm.generate("Hello", greedy, use_tqdm=False)
    assert output.sequences[0].tokens == [*expected.prompt_token_ids, *expected.outputs[0].token_ids]


def test_groups_of_prompts(llm):
    params = BeamSearchParams(beam_width=2, max_tokens=3)
    prompts = ["Hello", "One two", "The"]
    assert llm.beam_search(prompts, params, concurrency_limit=2) == llm.beam_search(prompts, params)
    with pytest.raises(VLLMValidationError, match="concurrency_limit"):
        llm.beam_search(prompts, params, concurrency_limit=0)


def test_parameters(nf4_directory):
    for name, bad in {"beam_width": (0, -1, 10**9, "2", True), "max_tokens": (0, -1, None)}.items():
        for value in bad:
            with pytest.raises(VLLMValidationError, match=name):
                BeamSearchParams(**{"beam_width": 2, "max_tokens": 3, name: value})
    with pytest.raises(VLLMValidationError, match="temperature"):
        LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False).beam_search(["a"], BeamSearchParams(2, 3, temperature=-1))
    with pytest.raises(VLLMValidationError, match="max_logprobs"):  # 22 log-probabilities of 20
        LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False).beam_search(["a"], BeamSearchParams(11, 3))
