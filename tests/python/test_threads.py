"""Several threads on one engine; Ctrl-C, the interpreter's exit, forks; priorities and counts."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from packhorse import LLM, BeamSearchParams, VLLMValidationError
from small_requests import CONTEXT, ENDLESS, GREEDY, PROMPTS, metric, seeded, tokens, wait_until_running

CHAT = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def llm(nf4_directory):
    return LLM(nf4_directory, max_model_len=CONTEXT, use_tqdm_on_load=False)


def test_threads_get_their_own_results(llm):
    """Whatever other threads do at the same time, each call returns what it returns alone."""

    def enqueue(seed):
        llm.enqueue(PROMPTS[:2], seeded(seed), use_tqdm=False)
        llm.enqueue_chat(CHAT, seeded(seed), use_tqdm=False)
        return tokens(llm.wait_for_completion(use_tqdm=False))

    def beams(seed):
        (output,) = llm.beam_search(PROMPTS[seed % 4], BeamSearchParams(beam_width=2, max_tokens=4))
        return [beam.tokens for beam in output.sequences]

    calls = [
        lambda seed: tokens(llm.generate(PROMPTS, seeded(seed), use_tqdm=False)),
        lambda seed: tokens(llm.chat(CHAT, seeded(seed), use_tqdm=False)),
        lambda seed: [out.outputs.embedding for out in llm.embed(PROMPTS[seed % 4 :], use_tqdm=False)],
        lambda seed: [tokens([out]) for out in llm.stream(PROMPTS[seed % 4], seeded(seed))][-1],
        enqueue,
        beams,
    ]
    jobs = [(call, seed) for seed in range(3) for call in calls]
    alone = [call(seed) for call, seed in jobs]
    together = [None] * len(jobs)

    def run(index):
        call, seed = jobs[index]
        together[index] = call(seed)

    threads = [threading.Thread(target=run, args=[index]) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert len({str(result) for result in alone}) > len(calls)  # or a mix-up would not show


def test_a_refused_request_leaves_other_threads_alone(llm):
    alone = tokens(llm.generate(PROMPTS, seeded(1), use_tqdm=False))
    results = []
    thread = threading.Thread(target=lambda: results.append(llm.generate(PROMPTS, seeded(1), use_tqdm=False)))
    thread.start()
    for _ in range(20):
        with pytest.raises(VLLMValidationError):
            llm.generate(["Hello", ""], GREEDY, use_tqdm=False)
    thread.join()
    assert tokens(results[0]) == alone


CTRL_C = """
import signal, sys, threading, time
from packhorse import LLM, SamplingParams
llm = LLM(sys.argv[1], max_model_len=2048, use_tqdm_on_load=False)
endless = SamplingParams(temperature=0, max_tokens=None, ignore_eos=True)
other = []
short = SamplingParams(max_tokens=24, ignore_eos=True)
thread = threading.Thread(target=lambda: other.append(llm.generate("One", short, use_tqdm=False)))
thread.start()
print("ready", flush=True)
try:
    while True:
        llm.generate(["Hello"] * 8, endless, use_tqdm=False)
except KeyboardInterrupt:
    print("interrupted", flush=True)
thread.join()
assert len(other[0][0].outputs[0].token_ids) == 24
assert len(llm.generate("Hello", short, use_tqdm=False)[0].outputs[0].token_ids) == 24
print("fine", flush=True)
"""


def test_ctrl_c_ends_the_call_alone(nf4_directory, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(CTRL_C)
    command = [sys.executable, str(script), str(nf4_directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "interrupted\nfine\n", "")


EXITS = {
    "a live engine": "llm.generate('Hello', short, use_tqdm=False)",
    "an unfinished stream": "stream = llm.stream('Hello', endless); next(stream)",
    "enqueued requests": "llm.enqueue(['Hello'] * 4, endless, use_tqdm=False)",
    "daemon threads that wait": """
import threading, time
def run():
    try:
        while True:
            llm.generate('Hello', endless, use_tqdm=False)
    except RuntimeError as error:
        assert 'the interpreter' in str(error), error
threads = [threading.Thread(target=run, daemon=True) for _ in range(4)]
for thread in threads: thread.start()
time.sleep(0.3)
""",
    "an asynchronous engine": """
import asyncio
from packhorse import AsyncLLM, AsyncEngineArgs
engine = AsyncLLM.from_engine_args(AsyncEngineArgs(sys.argv[1], max_model_len=256, use_tqdm_on_load=False))
async def first():
    async for output in engine.generate('Hello', endless, 'a'):
        return output
asyncio.run(first())
""",
    "a forked child": """
import os, signal
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        llm.generate('Hello', short, use_tqdm=False)
    except RuntimeError as error:
        assert 'forked child' in str(error)
        del llm
        sys.exit(7)
    sys.exit(8)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
llm.generate('Hello', short, use_tqdm=False)
""",
}


@pytest.mark.parametrize("what", EXITS)
def test_the_interpreter_exits_with(run_python, nf4_directory, what):
    text = f"""
import sys
from packhorse import LLM, SamplingParams
llm = LLM(sys.argv[1], max_model_len=2048, use_tqdm_on_load=False)
short = SamplingParams(max_tokens=2)
endless = SamplingParams(temperature=0, max_tokens=None, ignore_eos=True)
{EXITS[what]}
print("done", flush=True)
"""
    result = run_python(text, nf4_directory, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_priorities(llm, nf4_directory):
    with pytest.raises(VLLMValidationError, match="priority.*scheduling_policy") as caught:
        llm.generate("Hello", GREEDY, priority=[1], use_tqdm=False)
    assert "got 1" in str(caught.value)
    with pytest.raises(ValueError, match="priority.*got 1, prompts 2"):
        llm.generate(["Hello", "there"], GREEDY, priority=[0], use_tqdm=False)
    ordered = LLM(
        nf4_directory, max_model_len=CONTEXT, max_num_seqs=1, scheduling_policy="priority", use_tqdm_on_load=False
    )
    stream = ordered.stream("Hello", ENDLESS, priority=-5)  # keeps the others waiting until all of them are there
    next(stream)
    order = []

    def consume(name, outputs):
        for output in outputs:
            pass
        order.append((output.metrics.scheduled_ts, name))

    streams = {priority: ordered.stream("Hello", GREEDY, priority=priority) for priority in (3, 1, 2)}
    stream.close()
    for priority, outputs in streams.items():
        consume(priority, outputs)
    assert [name for _, name in sorted(order)] == [1, 2, 3]


def test_metrics_count(llm):
    wait_until_running(llm, 0)
    before = {metric.name: metric.value for metric in llm.get_metrics()}
    (output,) = llm.generate("One two three", GREEDY, use_tqdm=False)
    wait_until_running(llm, 0)
    after = {metric.name: metric.value for metric in llm.get_metrics()}
    assert after["vllm:generation_tokens"] - before["vllm:generation_tokens"] == 16
    assert after["vllm:prompt_tokens"] - before["vllm:prompt_tokens"] == len(output.prompt_token_ids)
    assert 0 <= after["vllm:kv_cache_usage_perc"] <= 1
