"""Answers as they come: LLM.stream, and AsyncLLM on asyncio."""

import asyncio
import threading
import time

import pytest

import packhorse
from packhorse import (
    LLM,
    AsyncEngineArgs,
    AsyncLLM,
    EngineDeadError,
    PoolingParams,
    RequestOutputKind,
    SamplingParams,
    VLLMValidationError,
)
from small_requests import CONTEXT, ENDLESS, GREEDY, PROMPTS, ended_early, seeded, tokens, wait_until_running


@pytest.fixture(scope="module")
def llm(nf4_directory):
    return LLM(nf4_directory, max_model_len=CONTEXT, use_tqdm_on_load=False)


@pytest.fixture(scope="module")
def engine(nf4_directory):
    args = AsyncEngineArgs(str(nf4_directory), max_model_len=CONTEXT, use_tqdm_on_load=False)
    engine = AsyncLLM.from_engine_args(args)
    yield engine
    engine.shutdown()


# Streams


def test_a_cumulative_stream_ends_with_what_generate_returns(llm):
    for n in (1, 3):
        params = seeded(5, 400, n=n, logprobs=2, stop=["zq"])
        (whole,) = llm.generate(PROMPTS[1], params, use_tqdm=False)
        outputs = list(llm.stream(PROMPTS[1], params, request_id="mine"))
        assert len(outputs) > 1 and [output.finished for output in outputs] == [False] * (len(outputs) - 1) + [True]
        assert {output.request_id for output in outputs} == {"mine"}
        assert outputs[-1].outputs == whole.outputs
        assert outputs[-1].prompt_token_ids == whole.prompt_token_ids
        for earlier, later in zip(outputs, outputs[1:]):
            for index, completion in enumerate(earlier.outputs):
                assert later.outputs[index].text.startswith(completion.text)
                n_tokens = len(completion.token_ids)
                assert later.outputs[index].token_ids[:n_tokens] == completion.token_ids


def test_deltas_add_up(llm):
    params = seeded(6, n=2, logprobs=1)
    (whole,) = llm.generate(PROMPTS[2], params, use_tqdm=False)
    outputs = list(llm.stream(PROMPTS[2], seeded(6, n=2, logprobs=1, output_kind=RequestOutputKind.DELTA)))
    assert len(outputs) >= 16
    for completion in whole.outputs:
        parts = [part for output in outputs for part in output.outputs if part.index == completion.index]
        assert "".join(part.text for part in parts) == completion.text
        assert sum((list(part.token_ids) for part in parts), []) == list(completion.token_ids)
        assert sum((part.logprobs for part in parts), []) == completion.logprobs
        assert [part.finish_reason for part in parts] == [None] * (len(parts) - 1) + [completion.finish_reason]
    assert all(output.prompt == PROMPTS[2] for output in outputs)
    assert all(output.prompt_token_ids == whole.prompt_token_ids for output in outputs)
    assert outputs[-1].metrics.num_generation_tokens == 32


def test_leaving_a_stream_ends_its_request(llm):
    with ended_early(llm):
        for _ in llm.stream("Hello", ENDLESS):
            break
    with ended_early(llm):
        stream = llm.stream("Hello", ENDLESS)
        next(stream)
        wait_until_running(llm, 1)
        stream.close()
    with ended_early(llm):
        llm.stream("Hello", ENDLESS)  # dropped before its first output
    with ended_early(llm):
        stream = llm.stream("Hello", ENDLESS)
        next(stream)
        with pytest.raises(ValueError) as caught:  # its traceback keeps what the iterator had
            stream.throw(ValueError())
    assert caught.traceback
    assert tokens(llm.generate("Hello", GREEDY, use_tqdm=False)) == tokens(llm.generate("Hello", GREEDY, use_tqdm=False))


def test_streams_side_by_side(llm):
    """Taken from in turns, by one thread."""
    expected = tokens(llm.generate(PROMPTS, seeded(7), use_tqdm=False))
    streams = [llm.stream(prompt, seeded(7)) for prompt in PROMPTS]
    last = [None] * len(streams)
    todo = set(range(len(streams)))
    while todo:
        for index in list(todo):
            last[index] = next(streams[index], None) or last[index]
            if last[index].finished:
                todo.remove(index)
    assert tokens(last) == expected


def test_streams_refuse_at_once(llm):
    with pytest.raises(VLLMValidationError, match="max_logprobs"):
        llm.stream("Hello", SamplingParams(logprobs=21))
    with pytest.raises(VLLMValidationError):
        llm.stream("", GREEDY)


# asyncio


async def last_of(outputs):
    last = None
    async for output in outputs:
        last = output
    return last


def test_asyncio_runs_many_requests(engine, llm):
    expected = [tokens(llm.generate(PROMPTS[i % 4], seeded(i), use_tqdm=False)) for i in range(20)]

    async def main():
        return await asyncio.gather(
            *(last_of(engine.generate(PROMPTS[i % 4], seeded(i), f"request-{i}")) for i in range(20))
        )

    outputs = asyncio.run(main())
    assert [tokens([output]) for output in outputs] == expected
    assert [output.request_id for output in outputs] == [f"request-{i}" for i in range(20)]
    assert all(output.finished for output in outputs)


def test_asyncio_deltas(engine, llm):
    async def main():
        params = seeded(3, output_kind=RequestOutputKind.DELTA)
        return [output async for output in engine.generate("Hello", params, "a")]

    outputs = asyncio.run(main())
    (whole,) = llm.generate("Hello", seeded(3), use_tqdm=False)
    assert "".join(output.outputs[0].text for output in outputs) == whole.outputs[0].text
    assert len(outputs) == 16


def test_outputs_that_come_before_the_request_is_known(engine, monkeypatch):
    add = packhorse.async_llm.add_generation

    def slow(*arguments):
        number = add(*arguments)
        time.sleep(0.3)
        return number

    async def main():
        params = SamplingParams(max_tokens=400, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
        return [output async for output in engine.generate("Hello", params, "a")]

    monkeypatch.setattr(packhorse.async_llm, "add_generation", slow)
    outputs = asyncio.run(main())
    assert sum(len(output.outputs[0].token_ids) for output in outputs) == 400
    assert [output.finished for output in outputs] == [False] * (len(outputs) - 1) + [True]


def test_a_cancelled_task_frees_its_place(engine):
    async def main():
        started = asyncio.Event()

        async def consume():
            async for _ in engine.generate("Hello", ENDLESS, "endless"):
                started.set()

        with ended_early(engine._llm):
            task = asyncio.create_task(consume())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return await last_of(engine.generate("Hello", GREEDY, "endless"))  # the id is free again

    assert len(asyncio.run(main()).outputs[0].token_ids) == 16


def test_abort_and_leaving_the_loop(engine):
    async def main():
        outputs = []
        async for output in engine.generate("Hello", ENDLESS, "a"):
            outputs.append(output)
            await engine.abort(["a", "unknown"])
        assert outputs[-1].outputs[0].finish_reason == "abort"
        async for _ in engine.generate("Hello", ENDLESS, "b"):
            with pytest.raises(ValueError, match="'b' is running"):
                await anext(engine.generate("Hello", GREEDY, "b"))
            break

    with ended_early(engine._llm):
        asyncio.run(main())


def test_two_event_loops_share_an_engine(engine, llm):
    expected = tokens(llm.generate("Hello", seeded(9), use_tqdm=False))
    results = []

    def run(name):
        results.append(asyncio.run(last_of(engine.generate("Hello", seeded(9), name))))

    threads = [threading.Thread(target=run, args=[name]) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [tokens([output]) for output in results] == [expected] * 3


def test_a_closed_loop_ends_its_requests(engine):
    """A loop that is gone without having ended its generators."""
    with ended_early(engine._llm):
        loop = asyncio.new_event_loop()
        generator = engine.generate("Hello", ENDLESS, "left")
        loop.run_until_complete(anext(generator))
        loop.close()


def test_methods_of_the_asynchronous_engine(engine, llm):
    async def main():
        await engine.check_health()
        assert engine.is_running and not engine.errored and not engine.is_stopped
        tokenizer = await engine.get_tokenizer()
        assert tokenizer.encode("Hello") == engine.get_tokenizer().encode("Hello") == llm.get_tokenizer().encode("Hello")
        output = await last_of(engine.encode("Hello", PoolingParams(), "vector"))
        assert output.request_id == "vector"
        return output.outputs.data.tolist()

    (expected,) = llm.embed("Hello", use_tqdm=False)
    assert asyncio.run(main()) == pytest.approx(expected.outputs.embedding, abs=1e-6)


def test_shutdown_ends_what_runs(nf4_directory):
    engine = packhorse.AsyncLLMEngine.from_engine_args(
        AsyncEngineArgs(str(nf4_directory), max_model_len=256, use_tqdm_on_load=False, enable_log_requests=True)
    )

    async def main():
        with pytest.raises(EngineDeadError):
            async for _ in engine.generate("Hello", ENDLESS, "a"):
                engine.shutdown()
        with pytest.raises(EngineDeadError):
            await engine.check_health()
        with pytest.raises(EngineDeadError):
            await anext(engine.generate("Hello", GREEDY, "b"))

    asyncio.run(main())
    assert engine.is_stopped and not engine.errored
    engine.shutdown()
