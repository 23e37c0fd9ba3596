"""EngineArgs: the arguments of LLM as an object and as options of a program."""

import argparse
import dataclasses
import inspect
import re

import pytest

from packhorse import LLM, EngineArgs
from packhorse.arguments import engine_options
from packhorse.engine_args import FlexibleArgumentParser


def parse(*arguments):
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser(exit_on_error=False))
    return EngineArgs.from_cli_args(parser.parse_args(list(arguments)))


def test_defaults_are_those_of_llm():
    defaults = EngineArgs.defaults()
    for name, parameter in inspect.signature(LLM).parameters.items():
        if parameter.default is not inspect.Parameter.empty and name in defaults:
            assert defaults[name] == parameter.default, name
    assert parse() == EngineArgs()


def test_options():
    args = parse(
        "--model", "m", "--max-model-len", "2k", "--max_num_seqs=1K", "--gpu_memory_utilization", "0.5", "-tp", "1",
        "-q", "bitsandbytes", "--quantization_config", '{"load_in_8bit": true}', "--enforce-eager", "--seed", "7",
        "--no-enable-prefix-caching", "--served-model-name", "a", "b", "--download_dir", "a_folder",
    )  # fmt: skip
    assert args == EngineArgs(
        model="m", max_model_len=2000, max_num_seqs=1024, gpu_memory_utilization=0.5, quantization="bitsandbytes",
        quantization_config={"load_in_8bit": True}, enforce_eager=True, seed=7, enable_prefix_caching=False,
        served_model_name=["a", "b"], download_dir="a_folder",
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--max-model-len", "long"], ["--max-model-len", "1.5"], ["--max-model-len", ""], ["--max-model-len", "xk"],
     ["--max-model-len", "infk"],
     ["--quantization-config", "{"], ["--quantization-config", "[1]"], ["--gpu-memory-utilization", "much"]],
)  # fmt: skip
def test_bad_options(arguments):
    with pytest.raises(argparse.ArgumentError):
        parse(*arguments)


def test_engines_from_arguments(nf4_directory):
    args = EngineArgs(model=str(nf4_directory), max_model_len=64, use_tqdm_on_load=False)
    for llm in (LLM(**dataclasses.asdict(args)), LLM.from_engine_args(args), LLM(**vars(args))):
        assert llm._engine.max_model_len == 64
    with pytest.raises(ValueError, match="pipeline_parallel_size"):
        LLM.from_engine_args(dataclasses.replace(args, pipeline_parallel_size=2))
    with pytest.raises(ValueError, match="tensor.parallel.size"):
        LLM(**vars(dataclasses.replace(args, tensor_parallel_size=2)))


@pytest.mark.parametrize(
    "arguments",
    [{"pipeline_parallel_size": 1, "decode_context_parallel_size": 1, "node_rank": 0, "max_lora_rank": 16},
     {"enable_lora": False, "enable_eplb": False, "logits_processors": [], "worker_extension_cls": "", "reasoning_parser": ""},
     {"hf_overrides": {}, "speculative_config": None, "runner": "pooling", "logprobs_mode": "raw_logprobs"},
     {"video_pruning_rate": 0.1, "offload_group_size": 1, "enforce_eager": True, "additional_config": {"a": 1}},
     {"served_model_name": "a", "disable_log_stats": True, "shutdown_timeout": 1, "log_level": "info"}],
)  # fmt: skip
def test_what_asks_for_nothing_changes_nothing(arguments, recwarn):
    assert engine_options(arguments) == {}
    assert not recwarn


@pytest.mark.parametrize(
    "argument",
    [{"swap_space": 4}, {"task": "generate"}, {"guided_decoding": None}, {"guided_decoding_backend": "auto"},
     {"max_seq_len_to_capture": 8}],
)  # fmt: skip
def test_old_arguments_are_told_of(argument):
    with pytest.warns(UserWarning, match=f"{next(iter(argument))} is an argument of older releases"):
        assert engine_options(argument) == {}


@pytest.mark.parametrize(
    ("argument", "message"),
    [({"task": "classify"}, "task: not supported: models answer and embed, nothing else (got 'classify')"),
     ({"enable_lora": True}, "enable_lora: not supported: there are no adapters (LoRA and the like) (got True)"),
     ({"pipeline_parallel_size": 2}, "pipeline_parallel_size: not supported: the model is not split (got 2)"),
     ({"logits_processors": ["a.b"]}, "logits_processors: not supported: no code but that of Packhorse is run (got ['a.b'])"),
     ({"hf_overrides": {"a": 1}}, "settings of a quantization method go into quantization_config (got {'a': 1})"),
     ({"enable_eplb": 2}, "enable_eplb: not supported: "),
     ({"override_pooler_config": {"a": 1}}, "see pooler_config"),
     ({"reasoning_parser": "qwen3"}, "reasoning_parser: only the server tells reasoning apart (got 'qwen3')")],
    ids=str,
)  # fmt: skip
def test_what_is_not_there_says_why(argument, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        engine_options(argument)


@pytest.mark.parametrize("name", ["offload_banana", "no_enable_lora", "swap-spice", "", "x" * 5000], ids=ascii)
def test_no_argument_is_known_by_its_beginning(name):
    assert engine_options({name: 1}) == {name: 1}  # for the engine to refuse
