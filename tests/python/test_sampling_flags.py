"""Sampling parameters on the command line."""

import pytest

from packhorse import LLM, SamplingParams
from test_cli import assert_error


@pytest.fixture(scope="module")
def llm(nf4_directory):
    return LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False)


@pytest.fixture
def answer(run_program, nf4_directory):
    """What `packhorse run` prints for a prompt that it continues greedily."""

    def run(*arguments):
        result = run_program(
            "run", nf4_directory, "-p", "Hello", "--raw", "--temperature", 0, "--max-tokens", 4, "--max-model-len", 64,
            *arguments,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.mark.parametrize(
    "arguments, params",
    [
        ([], {}),
        (["--logit-bias", "77:100"], {"logit_bias": {77: 100}}),
        (["--logit-bias", "77:50,78:49.5", "--logit-bias", "77:-100"], {"logit_bias": {77: -100, 78: 49.5}}),
        (["--logit-bias", '{"77": 50, "78": 49}'], {"logit_bias": {77: 50, 78: 49}}),
        (["--allowed-token-ids", "70,80", "--allowed-token-ids", "90"], {"allowed_token_ids": [70, 80, 90]}),
        (["--repetition-penalty", "5"], {"repetition_penalty": 5}),
        (["--presence-penalty", "-2"], {"presence_penalty": -2}),
        (["--frequency-penalty", "2"], {"frequency_penalty": 2}),
    ],
)
def test_flags_are_the_parameters(answer, llm, arguments, params):
    (expected,) = llm.generate("Hello", SamplingParams(temperature=0, max_tokens=4, **params), use_tqdm=False)
    assert answer(*arguments) == expected.outputs[0].text + "\n"


def test_bad_words(answer, llm):
    tokenizer = llm.get_tokenizer()
    (free,) = llm.generate("Hello", SamplingParams(temperature=0, max_tokens=4), use_tqdm=False)
    words = [tokenizer.decode(token_id).strip() for token_id in free.outputs[0].token_ids[:2]]
    params = SamplingParams(temperature=0, max_tokens=4, bad_words=words)
    (expected,) = llm.generate("Hello", params, use_tqdm=False)
    assert expected.outputs[0].text != free.outputs[0].text
    assert answer("--bad-words", words[0], "--bad-words", words[1]) == expected.outputs[0].text + "\n"


def test_several_answers(run_program, nf4_directory):
    def run(n):
        result = run_program(
            "run", nf4_directory, "-p", "Hello", "--raw", "--temperature", 1, "--max-tokens", 8, "--seed", 3, "--n", n,
            "--max-model-len", 64, "--stats",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result.stdout, result.stderr

    (three, stats), (again, _), (one, _) = run(3), run(3), run(1)
    assert three == again and three.startswith("[1]\n") and "\n[2]\n" in three and "\n[3]\n" in three
    assert three.startswith("[1]\n" + one)  # the first does not depend on the others
    assert "24 generated" in stats


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--logit-bias", "77"], ["--logit-bias", "ID:BIAS", "'77'"]),
        (["--logit-bias", "x:1"], ["--logit-bias", "'x'"]),
        (["--logit-bias", "-5:1"], ["--logit-bias", "-5"]),
        (["--logit-bias", "5:nan"], ["--logit-bias", "nan"]),
        (["--logit-bias", "5:"], ["--logit-bias", "''"]),
        (["--logit-bias", '{"5": "1"}'], ["--logit-bias", "'5'"]),
        (["--logit-bias", '{"5": 1'], ["--logit-bias", "JSON"]),
        (["--allowed-token-ids", "1,,2"], ["--allowed-token-ids", "''"]),
        (["--allowed-token-ids", "3000000000"], ["--allowed-token-ids", "3000000000"]),
        (["--bad-words", ""], ["bad_words", "empty"]),
        (["--n", "0"], ["n must be at least 1"]),
        (["--n", "2", "--temperature", "0"], ["n must be 1", "greedy"]),
        (["--repetition-penalty", "0"], ["repetition_penalty"]),
        (["--presence-penalty", "3"], ["presence_penalty", "3"]),
    ],
)
def test_fault_122_bad_values(run_program, arguments, words):
    assert_error(run_program("run", "some-model", "-p", "x", *arguments), 2, *words)


def test_fault_086_a_token_that_the_model_has_not(run_program, nf4_directory):
    result = run_program("run", nf4_directory, "-p", "x", "--max-model-len", 64, "--logit-bias", "1000000:1")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("error: logit_bias: token id 1000000"), result.stderr


def test_a_chat_has_one_answer(run_program):
    assert_error(run_program("run", "some-model", "--n", "2", "--temperature", "1"), 2, "--n", "2")
