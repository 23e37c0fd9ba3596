"""Makes `import vllm` give Packhorse.

`import packhorse.as_vllm` does so for the rest of the process. `python -m packhorse.as_vllm SCRIPT.py [ARGS]` (or
`-m MODULE [ARGS]`) runs a program that was written for vLLM, and supplies a module `torch` that knows its dtypes alone
when torch is not installed.
"""

import gc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import runpy
import sys
import types
from typing import Any

import packhorse

from . import async_llm, beam_search, engine_args, errors, inputs, lora, metrics, outputs, pooling, sampling_params, tokenizer

VERSION = "0.33.0+packhorse"


def _cleanup_dist_env_and_memory(shutdown_ray: bool = False) -> None:
    """Frees engines that nothing refers to any more; one process has nothing else to clean up."""
    gc.collect()


def _exports() -> dict[str, dict[str, Any]]:
    """Attributes of each module, by the module's name under vllm."""
    names = [
        "LLM", "AsyncLLMEngine", "EngineArgs", "AsyncEngineArgs", "SamplingParams", "PoolingParams", "PromptType",
        "TextPrompt", "TokensPrompt", "RequestOutput", "CompletionOutput", "PoolingOutput", "PoolingRequestOutput",
        "EmbeddingOutput", "EmbeddingRequestOutput",
    ]  # fmt: skip
    top = {name: getattr(packhorse, name) for name in names}
    pooled = {name: value for name, value in vars(pooling).items() if name.endswith("Output")}
    pooler = {"PoolerConfig": pooling.PoolerConfig}
    asynchronous = {"AsyncLLM": async_llm.AsyncLLM, "AsyncLLMEngine": async_llm.AsyncLLMEngine}
    tokenizers = {"get_tokenizer": tokenizer.get_tokenizer, "TokenizerLike": tokenizer.Tokenizer}
    templates = {"resolve_chat_template": tokenizer.resolve_chat_template}
    parser = {"FlexibleArgumentParser": engine_args.FlexibleArgumentParser}
    cleanup = {"cleanup_dist_env_and_memory": _cleanup_dist_env_and_memory}
    return {
        "": {**top, "__version__": VERSION, "__version_tuple__": (0, 33, 0, "packhorse")},
        "version": {"__version__": VERSION, "__version_tuple__": (0, 33, 0, "packhorse")},
        "entrypoints": {},
        "entrypoints.llm": {"LLM": packhorse.LLM},
        "engine": {},
        "engine.arg_utils": {name: getattr(packhorse, name) for name in ("EngineArgs", "AsyncEngineArgs")},
        "engine.async_llm_engine": asynchronous,
        "v1": {},
        "v1.engine": {},
        "v1.engine.async_llm": asynchronous,
        "v1.engine.exceptions": {"EngineDeadError": errors.EngineDeadError},
        "v1.metrics": {},
        "v1.metrics.reader": vars(metrics),
        "config": pooler,
        "config.pooler": pooler,
        "utils": parser,
        "utils.argparse_utils": parser,
        "sampling_params": vars(sampling_params),
        "pooling_params": {"PoolingParams": pooling.PoolingParams},
        "beam_search": vars(beam_search),
        "tokenizers": tokenizers,
        "transformers_utils": {},
        "transformers_utils.tokenizer": tokenizers,
        "renderers": {},
        "renderers.hf": templates,
        "outputs": {**vars(outputs), **pooled},
        "logprobs": {name: getattr(outputs, name) for name in ("Logprob", "PromptLogprobs", "SampleLogprobs")},
        "inputs": vars(inputs),
        "inputs.data": vars(inputs),
        "exceptions": vars(errors),
        "lora": {},
        "lora.request": vars(lora),
        "distributed": cleanup,
        "distributed.parallel_state": cleanup,
    }


def _make_module(name: str, attributes: dict[str, Any], is_package: bool) -> types.ModuleType:
    module = types.ModuleType(name, f"{name}, as Packhorse provides it.")
    public = {key: value for key, value in attributes.items() if not key.startswith("__") or "version" in key}
    module.__dict__.update(public)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=is_package)
    if is_package:
        module.__path__ = []  # nothing else is found below it
    return module


class _Distribution(importlib.metadata.Distribution):
    """What `importlib.metadata.version("vllm")` reads."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"vllm: {path}: no files, Packhorse stands in for it")


class _DistributionFinder(importlib.metadata.DistributionFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        return None  # the modules themselves are in sys.modules

    def find_distributions(self, context: Any = importlib.metadata.DistributionFinder.Context()) -> list:
        return [_Distribution()] if context.name in (None, "vllm") else []


def install() -> None:
    """Puts the modules in place; once is enough."""
    present = sys.modules.get("vllm")
    if present is not None:
        if getattr(present, "__version__", None) == VERSION:
            return
        raise ImportError("vllm is imported already: import packhorse.as_vllm before it")
    if importlib.util.find_spec("vllm") is not None:
        print("packhorse: the installed vllm is shadowed in this process", file=sys.stderr)
    exports = _exports()
    for name, attributes in exports.items():
        full = f"vllm.{name}" if name else "vllm"
        is_package = any(other.startswith(f"{name}." if name else "") for other in exports if other != name)
        module = _make_module(full, attributes, is_package)
        sys.modules[full] = module
        if name:
            parent, _, child = full.rpartition(".")
            setattr(sys.modules[parent], child, module)
    sys.meta_path.insert(0, _DistributionFinder())


class _DType:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


def _install_torch_dtypes() -> None:
    """A module `torch` with dtypes and nothing else, when the real one is not installed."""
    if "torch" in sys.modules or importlib.util.find_spec("torch") is not None:
        return
    names = (
        "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool",
        "float8_e4m3fn", "float8_e5m2",
    )  # fmt: skip
    dtypes: dict[str, Any] = {name: _DType(name) for name in names}
    dtypes |= {"half": dtypes["float16"], "float": dtypes["float32"], "double": dtypes["float64"], "dtype": _DType}
    sys.modules["torch"] = _make_module("torch", dtypes, is_package=False)


def run(arguments: list[str]) -> None:
    """Runs the program that the command line names."""
    _install_torch_dtypes()
    if len(arguments) > 1 and arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments and os.path.isfile(arguments[0]):
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        wrong = f"{arguments[0]}: no such file" if arguments and arguments[0] != "-m" else "no program given"
        print(f"error: {wrong} (usage: python -m packhorse.as_vllm SCRIPT.py | -m MODULE [ARGS])", file=sys.stderr)
        raise SystemExit(2)


if __name__ == "__main__":
    # Under its own name too, so that a program which imports this module again finds the one that is in effect.
    from packhorse import as_vllm

    as_vllm.run(sys.argv[1:])
else:
    install()
