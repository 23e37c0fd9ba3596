"""Embeddings: LLM.embed and LLM.encode."""

import math

import pytest

from packhorse import LLM, PoolerConfig, PoolingParams, VLLMValidationError

PROMPTS = ["Hello", "The capital of", "One two three four", "A quick brown fox"]


@pytest.fixture(scope="module")
def llm(nf4_directory):
    return LLM(nf4_directory, max_model_len=256, use_tqdm_on_load=False)


def norm(vector):
    return math.sqrt(sum(value * value for value in vector))


def vectors(llm, prompts, **arguments):
    return [output.outputs.embedding for output in llm.embed(prompts, use_tqdm=False, **arguments)]


def test_embeddings_of_a_batch_are_those_of_its_prompts(llm):
    batch = llm.embed(PROMPTS, use_tqdm=False)
    for prompt, output in zip(PROMPTS, batch):
        assert output.finished and output.prompt_token_ids == llm.get_tokenizer().encode(prompt)
        assert norm(output.outputs.embedding) == pytest.approx(1, abs=1e-5)
        assert output.outputs.hidden_size == len(output.outputs.embedding) > 16
        assert vectors(llm, prompt) == [pytest.approx(output.outputs.embedding, abs=1e-5)]
        (encoded,) = llm.encode(prompt, pooling_task="embed", use_tqdm=False)
        assert encoded.outputs.data.tolist() == pytest.approx(output.outputs.embedding, abs=1e-5)
    assert batch[0].outputs.embedding != pytest.approx(batch[1].outputs.embedding, abs=1e-2)


def test_parameters_of_embeddings(llm, nf4_directory):
    (last,) = vectors(llm, PROMPTS[2])
    (raw,) = vectors(llm, PROMPTS[2], pooling_params=PoolingParams(normalize=False))
    assert norm(raw) != pytest.approx(1, abs=1e-2)
    assert [value / norm(raw) for value in raw] == pytest.approx(last, abs=1e-5)
    (short,) = vectors(llm, PROMPTS[2], pooling_params=PoolingParams(dimensions=8))
    assert len(short) == 8 and norm(short) == pytest.approx(1, abs=1e-5)
    assert short == pytest.approx([value / norm(last[:8]) for value in last[:8]], abs=1e-5)
    pooling = LLM(
        nf4_directory, max_model_len=256, use_tqdm_on_load=False, runner="pooling", convert="embed",
        pooler_config=PoolerConfig(pooling_type="MEAN", use_activation=False),
    )  # fmt: skip
    token_ids = llm.get_tokenizer().encode(PROMPTS[2])
    (mean,) = vectors(pooling, PROMPTS[2])
    prefixes = [{"prompt_token_ids": token_ids[: n + 1]} for n in range(len(token_ids))]
    states = vectors(llm, prefixes, pooling_params=PoolingParams(use_activation=False))
    assert mean == pytest.approx([sum(column) / len(states) for column in zip(*states)], abs=2e-2)
    assert mean != pytest.approx(raw, abs=2e-2)
    with pytest.raises(ValueError, match="runner"):
        pooling.generate("Hello")


def test_embeddings_that_are_refused(llm, nf4_directory):
    for dimensions in (0, 10**6):
        with pytest.raises(VLLMValidationError, match="dimensions"):
            llm.embed("Hello", pooling_params=PoolingParams(dimensions=dimensions), use_tqdm=False)
    with pytest.raises(ValueError, match="pooling_task"):
        llm.encode("Hello")
    for call in (llm.classify, llm.score, llm.reward, lambda text: llm.encode(text, pooling_task="token_embed")):
        with pytest.raises(VLLMValidationError, match="only embed"):
            call("Hello")
    for bad in (PoolerConfig("CLS"), {"pooling_type": "CLS"}, {"pooling": "LAST"}):
        with pytest.raises(ValueError, match="pooler_config"):
            LLM(nf4_directory, pooler_config=bad)
    with pytest.raises(VLLMValidationError, match="contradicts"):
        PoolingParams(normalize=True, use_activation=False)
    generating = LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False, runner="generate")
    with pytest.raises(ValueError, match="runner"):
        generating.embed("Hello")
