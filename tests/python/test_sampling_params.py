"""SamplingParams without a model."""

import copy
import inspect

import pytest

from packhorse import RequestOutputKind, SamplingParams, StructuredOutputsParams, VLLMValidationError, _packhorse


def test_defaults_are_the_engines():
    params = SamplingParams()
    for name, value in _packhorse.default_sampling().items():
        assert getattr(params, name) == value, name


def test_positions_are_vllms():
    assert list(inspect.signature(SamplingParams).parameters) == [
        "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "watermarking", "top_p",
        "top_k", "min_p", "seed", "stop", "stop_token_ids", "ignore_eos", "max_tokens", "min_tokens", "logprobs",
        "prompt_logprobs", "prompt_logprob_token_ids", "prompt_logprob_start", "logprob_token_ids", "flat_logprobs",
        "detokenize", "skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output",
        "output_kind", "stream_interval", "skip_clone", "structured_outputs", "logit_bias", "allowed_token_ids",
        "extra_args", "bad_words", "skip_reading_prefix_cache", "thinking_token_budget", "repetition_detection",
        "routed_experts_prompt_start", "trace_decode_token_ids",
    ]  # fmt: skip


def test_repr_is_vllms():
    params = SamplingParams(n=2, top_p=0.9, stop="x", stop_token_ids=[7], seed=3, logprobs=2, bad_words=["b"])
    assert repr(params) == (
        "SamplingParams(n=2, presence_penalty=0.0, frequency_penalty=0.0, repetition_penalty=1.0, temperature=1.0, "
        "top_p=0.9, top_k=0, min_p=0.0, seed=3, stop=['x'], stop_token_ids=[7], bad_words=['b'], "
        "thinking_token_budget=None, include_stop_str_in_output=False, ignore_eos=False, max_tokens=16, min_tokens=0, "
        "logprobs=2, prompt_logprobs=None, skip_special_tokens=True, spaces_between_special_tokens=True, "
        "structured_outputs=None, extra_args=None)"
    )


def test_normal_forms():
    params = SamplingParams(stop="end", stop_token_ids=(1, 2), seed=-1, temperature=0, top_p=0.5, top_k=3, min_p=0.1)
    assert (params.stop, params.stop_token_ids, params.seed) == (["end"], [1, 2], None)
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0, 1, 0, 0)  # greedy needs none of them
    assert SamplingParams(temperature=0.001).temperature == 0.01
    assert SamplingParams(stop=None).stop == []
    assert SamplingParams(stop_token_ids=[5, 3, 5], bad_words=["b", "a", "b"]).stop_token_ids == [5, 3]
    assert SamplingParams(bad_words=["b", "a", "b"]).bad_words == ["b", "a"] and SamplingParams().bad_words == []
    assert (SamplingParams(logprobs=True).logprobs, SamplingParams(prompt_logprobs=True).prompt_logprobs) == (1, 1)


def test_from_optional():
    assert SamplingParams.from_optional(n=None, top_k=5) == SamplingParams(top_k=5)
    assert SamplingParams.from_optional(max_tokens=None).max_tokens is None
    biases = SamplingParams.from_optional(logit_bias={"3": 1000, 4: -1e9, 5: 2.5}).logit_bias
    assert biases == {3: 100.0, 4: -100.0, 5: 2.5}
    for bad in ({"a": 1}, {3: "x"}, [3], {3: float("nan")}):
        with pytest.raises(VLLMValidationError, match="logit_bias") as caught:
            SamplingParams.from_optional(logit_bias=bad)
        assert caught.value.parameter == "logit_bias"


@pytest.mark.parametrize(
    "name, value",
    [
        ("n", 0), ("n", 16385), ("n", "3"), ("n", True), ("presence_penalty", 2.5), ("frequency_penalty", -2.5),
        ("repetition_penalty", 0), ("temperature", -0.1), ("temperature", 2.1), ("temperature", float("nan")),
        ("temperature", "hot"), ("top_p", 0), ("top_p", 1.1), ("top_k", -2), ("top_k", 1.5), ("min_p", 2),
        ("max_tokens", 0), ("min_tokens", -1), ("logprobs", -2), ("prompt_logprobs", -2), ("stop", [""]), ("stop", [5]),
        ("stop_token_ids", ["a"]), ("stop_token_ids", [[1]]), ("stop_token_ids", 5), ("ignore_eos", 1),
        ("logit_bias", {1: float("nan")}), ("logit_bias", {"1": 2.0}), ("logit_bias", {1: "2"}), ("logit_bias", [1]),
        ("logit_bias", {True: 1.0}), ("logit_bias", {2**70: 1.0}), ("allowed_token_ids", []),
        ("allowed_token_ids", ["a"]), ("allowed_token_ids", 5), ("bad_words", ["a", ""]), ("bad_words", "word"),
        ("bad_words", [5]), ("bad_words", [str(i) for i in range(1025)]),
        ("structured_outputs", "a"), ("structured_outputs", StructuredOutputsParams(json=5)),
        ("structured_outputs", StructuredOutputsParams(choice=[])), ("structured_outputs", StructuredOutputsParams(choice="a")),
        ("structured_outputs", StructuredOutputsParams(json_object=False)),
        ("structured_outputs", StructuredOutputsParams(regex="a" * 300_000)),
    ],
)  # fmt: skip
def test_errors_name_parameter_and_value(name, value):
    with pytest.raises(VLLMValidationError, match=name) as caught:
        SamplingParams(**{name: value})
    assert isinstance(caught.value, ValueError)
    assert caught.value.parameter == name


def test_value_of_the_error():
    with pytest.raises(VLLMValidationError) as caught:
        SamplingParams(top_p=1.5)
    assert caught.value.value == 1.5


def test_greedy_has_one_output():
    with pytest.raises(VLLMValidationError, match="n must be 1"):
        SamplingParams(n=2, temperature=0)


def test_copies_are_independent():
    params = SamplingParams(stop=["a"])
    for other in (params.clone(), copy.deepcopy(params)):
        other.stop.append("b")
        assert params.stop == ["a"] and other != params


def test_output_kinds():
    assert [kind.value for kind in RequestOutputKind] == [0, 1, 2]
    assert SamplingParams(output_kind=RequestOutputKind.DELTA).output_kind is RequestOutputKind.DELTA


def test_structured_outputs_take_one_constraint():
    with pytest.raises(VLLMValidationError, match="exactly one"):
        StructuredOutputsParams(regex="a", json="{}")
    with pytest.raises(VLLMValidationError, match="exactly one"):
        StructuredOutputsParams()
    with pytest.raises(VLLMValidationError, match="whitespace_pattern"):
        StructuredOutputsParams(json="{}", whitespace_pattern=" ")
    assert SamplingParams(structured_outputs={"regex": "a"}).structured_outputs == StructuredOutputsParams(regex="a")
