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
    names = list(inspect.signature(SamplingParams).parameters)
    assert names[:11] == [
        "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "watermarking", "top_p",
        "top_k", "min_p", "seed", "stop",
    ]  # fmt: skip


def test_normal_forms():
    params = SamplingParams(stop="end", stop_token_ids=(1, 2), seed=-1, temperature=0, top_p=0.5, top_k=3, min_p=0.1)
    assert (params.stop, params.stop_token_ids, params.seed) == (["end"], [1, 2], None)
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0, 1, 0, 0)  # greedy needs none of them
    assert SamplingParams(temperature=0.001).temperature == 0.01
    assert SamplingParams(stop=None).stop == []
    assert SamplingParams.from_optional(n=None, top_k=5) == SamplingParams(top_k=5)


@pytest.mark.parametrize(
    "name, value",
    [
        ("n", 0), ("n", 16385), ("n", "3"), ("n", True), ("presence_penalty", 2.5), ("frequency_penalty", -2.5),
        ("repetition_penalty", 0), ("temperature", -0.1), ("temperature", 2.1), ("temperature", float("nan")),
        ("temperature", "hot"), ("top_p", 0), ("top_p", 1.1), ("top_k", -2), ("top_k", 1.5), ("min_p", 2),
        ("max_tokens", 0), ("min_tokens", -1), ("logprobs", -2), ("prompt_logprobs", -2), ("stop", [""]), ("stop", [5]),
        ("stop_token_ids", ["a"]), ("ignore_eos", 1), ("logit_bias", {1: 2.0}), ("bad_words", ["x"]),
        ("structured_outputs", StructuredOutputsParams(regex="a")),
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
