"""EngineArgs: the arguments of LLM as an object and as options of a program."""

import argparse
import dataclasses
import inspect

import pytest

from packhorse import LLM, EngineArgs
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
