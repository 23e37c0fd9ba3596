"""What a type checker has to find out about a program that uses the package; scripts/check_wheel runs one over it."""

from typing import Any, assert_type

import packhorse
from packhorse import (
    LLM,
    AsyncEngineArgs,
    AsyncLLM,
    CompletionOutput,
    EmbeddingRequestOutput,
    Logprob,
    PoolingParams,
    PromptType,
    RequestOutput,
    SamplingParams,
    Tokenizer,
)
from packhorse._packhorse import Engine, Requests


def generate(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=8, logprobs=2, stop=["\n"])
    prompts: list[PromptType] = ["Hello", {"prompt_token_ids": [1, 2, 3]}]
    outputs = llm.generate(prompts, params)
    assert_type(outputs, list[RequestOutput])
    answer = outputs[0].outputs[0]
    assert_type(answer, CompletionOutput)
    assert_type(answer.text, str)
    assert_type(answer.logprobs, list[dict[int, Logprob]] | None)
    assert_type(llm.chat([{"role": "user", "content": "Hello"}]), list[RequestOutput])
    assert_type(llm.get_default_sampling_params(), SamplingParams)


def embed(llm: LLM) -> None:
    outputs = llm.embed("Hello", pooling_params=PoolingParams(dimensions=8))
    assert_type(outputs, list[EmbeddingRequestOutput])
    assert_type(outputs[0].outputs.embedding, list[float])


async def stream(llm: LLM) -> None:
    for output in llm.stream("Hello", request_id="a"):
        assert_type(output, RequestOutput)
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model="demo", enable_log_requests=True))
    async for answer in engine.generate("Hello", SamplingParams(), "b", priority=0):
        assert_type(answer, RequestOutput)
    await engine.abort("b")


def tokens(llm: LLM) -> None:
    tokenizer = llm.get_tokenizer()
    assert_type(tokenizer, Tokenizer)
    assert_type(tokenizer.decode(tokenizer.encode("Hello")), str)


def extension(engine: Engine) -> None:
    assert_type(engine.tokenize("Hello"), list[int])
    assert_type(engine.eos_token_id, int | None)
    assert_type(engine.stats(), dict[str, int])
    assert_type(Requests(engine).next(timeout=0.1), list[dict[str, Any]] | None)
    assert_type(packhorse.version_text(), str)


def mistakes(llm: LLM) -> None:
    llm.generate(5)  # type: ignore[arg-type]
    SamplingParams(temprature=1)  # type: ignore[call-arg]
    llm.generate("Hello")[0].answers  # type: ignore[attr-defined]
