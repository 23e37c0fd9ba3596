"""Structured output through the offline interface."""

import json
import re

import pytest

from packhorse import LLM, SamplingParams, StructuredOutputsParams, VLLMValidationError
from packhorse.arguments import engine_options

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Zoë", "a \"b\""]}, "n": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["name", "n"],
}  # fmt: skip


@pytest.fixture(scope="module")
def llm(nf4_directory):
    return LLM(nf4_directory, max_model_len=256, use_tqdm_on_load=False)


def texts(llm, seed=1, **constraint):
    structured = StructuredOutputsParams(**constraint)
    params = SamplingParams(n=3, seed=seed, max_tokens=100, structured_outputs=structured)
    outputs = llm.generate("An answer:", params, use_tqdm=False)[0].outputs
    assert [output.finish_reason for output in outputs] == ["stop"] * 3
    return [output.text for output in outputs]


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA)], ids=["dictionary", "text"])
def test_json(llm, schema):
    for text in texts(llm, json=schema, disable_any_whitespace=True):
        value = json.loads(text)
        assert value.keys() == {"name", "n"}
        assert value["name"] in ("Zoë", 'a "b"') and 1 <= value["n"] <= 9


def test_the_other_kinds(llm):
    assert all(re.fullmatch(r"[a-f]{3}\d{2}", text) for text in texts(llm, regex=r"[a-f]{3}\d{2}"))
    assert {*texts(llm, choice=["left", "right\n"])} <= {"left", "right\n"}
    assert {*texts(llm, grammar='root ::= "x" tail\ntail ::= "y" | "z"')} <= {"xy", "xz"}
    tag = {"type": "structural_tag", "format": {"type": "const_string", "value": "tagged"}}
    assert {*texts(llm, structural_tag=tag)} == {"tagged"}


def test_any_object(llm):
    params = SamplingParams(seed=3, max_tokens=60, structured_outputs=StructuredOutputsParams(json_object=True))
    assert llm.generate("An answer:", params, use_tqdm=False)[0].outputs[0].text.startswith("{")


def test_one_request_among_others(llm):
    plain = SamplingParams(temperature=0, max_tokens=8)
    alone = llm.generate("One", plain, use_tqdm=False)[0].outputs[0].token_ids
    bound = SamplingParams(max_tokens=50, structured_outputs=StructuredOutputsParams(choice=["only this"]))
    outputs = llm.generate(["One", "Two"], [plain, bound], use_tqdm=False)
    assert outputs[0].outputs[0].token_ids == alone
    assert outputs[1].outputs[0].text == "only this"


@pytest.mark.parametrize(
    "constraint", [{"json": "{"}, {"json": {"type": "blob"}}, {"regex": "("}, {"grammar": "root ::= none"}], ids=str
)
def test_what_is_no_grammar_is_an_error(llm, constraint):
    params = SamplingParams(structured_outputs=StructuredOutputsParams(**constraint))
    with pytest.raises(VLLMValidationError, match="structured_outputs"):
        llm.generate("An answer:", params, use_tqdm=False)
    assert llm.generate("An answer:", SamplingParams(max_tokens=2), use_tqdm=False)[0].finished


@pytest.mark.parametrize(
    "config",
    [None, {}, {"backend": "xgrammar", "disable_fallback": True, "disable_additional_properties": True},
     '{"enable_in_reasoning": true, "disable_any_whitespace": false, "reasoning_parser": ""}'],
    ids=str,
)  # fmt: skip
def test_settings_that_change_nothing(config):
    assert engine_options({"structured_outputs_config": config}) == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [({"backend": "outlines"}, "backend: must be 'auto' or 'xgrammar'"), ({"disable_any_whitespace": True}, "StructuredOutputsParams"),
     ({"reasoning_parser": "qwen3"}, "only the server"), ({"wish": 1}, "wish: not supported"), ({"disable_fallback": "maybe"}, "disable_fallback: must be true or false"),
     ("{", "JSON"), ([1], "dictionary")],
    ids=str,
)  # fmt: skip
def test_settings_that_are_refused(config, message):
    with pytest.raises(ValueError, match=f"structured_outputs_config: .*{message}"):
        engine_options({"structured_outputs_config": config})
