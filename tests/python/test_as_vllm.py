"""Programs that were written for vLLM, run as they are."""

import importlib.util
import json

import pytest

import checkpoint_files
from conftest import SHARED, find_checkpoint
from packhorse import LLM, ModelError, SamplingParams
from packhorse import tokenizer as packhorse_tokenizer

PROMPTS = ["Hello", "The capital of", "One two three four"]
# Sampled: a model this small repeats itself when greedy, which hides differences of the weights.
PARAMS = SamplingParams(temperature=1.0, seed=3, max_tokens=48, ignore_eos=True)
PREQUANTIZED, IN_FLIGHT = "unsloth/tinyllama-bnb-4bit", "huggyllama/llama-7b"
# Generates with the `llm` that an example program made, in the same interpreter.
GENERATE = """
import json, runpy, sys
program = runpy.run_path(sys.argv[1])
from vllm import SamplingParams
params = SamplingParams(temperature=1.0, seed=3, max_tokens=48, ignore_eos=True)
outputs = program["llm"].generate(json.loads(sys.argv[2]), params, use_tqdm=False)
print(json.dumps([output.outputs[0].token_ids for output in outputs]))
"""


def example(name):
    path = SHARED / "examples" / name
    if not path.is_file():
        pytest.skip("the example programs are not there")
    return path.resolve()


def tokens_of(directory, **arguments):
    llm = LLM(directory, use_tqdm_on_load=False, **arguments)
    return [list(output.outputs[0].token_ids) for output in llm.generate(PROMPTS, PARAMS, use_tqdm=False)]


def tokens_of_example(run_python, name, hub):
    result = run_python(
        GENERATE, example(name), json.dumps(PROMPTS), module="packhorse.as_vllm",
        env={"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def weights(bf16_gguf):
    return checkpoint_files.llama_weights(bf16_gguf)


def test_the_writer_equals_the_library(tmp_path, nf4_directory, weights):
    """The tests' own nf4 files are what bitsandbytes writes for the same weights."""
    checkpoint_files.write_nf4_directory(tmp_path / "nf4", nf4_directory, weights, "bfloat16")
    written = checkpoint_files.read_safetensors(tmp_path / "nf4/model.safetensors")
    library = checkpoint_files.read_safetensors(nf4_directory / "model.safetensors")
    assert written.keys() == library.keys()
    for name, tensor in library.items():
        assert tensor.tobytes() == written[name].tobytes(), name


@pytest.mark.parametrize("name", ["bnb_prequantized.py", "bnb_prequantized_older.py"])
def test_prequantized_example(run_python, tmp_path, nf4_directory, name):
    checkpoint_files.add_to_hub(tmp_path / "hub", PREQUANTIZED, nf4_directory)
    assert tokens_of_example(run_python, name, tmp_path / "hub") == tokens_of(nf4_directory)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["bnb_inflight.py", "bnb_inflight_older.py"])
def test_in_flight_example(run_python, tmp_path, nf4_directory, weights, name, dtype):
    checkpoint_files.write_float_directory(tmp_path / "float", nf4_directory, weights, dtype)
    checkpoint_files.write_nf4_directory(tmp_path / "nf4", nf4_directory, weights, dtype)
    checkpoint_files.add_to_hub(tmp_path / "hub", IN_FLIGHT, tmp_path / "float")
    quantized = tokens_of(tmp_path / "nf4", dtype="bfloat16")
    assert tokens_of_example(run_python, name, tmp_path / "hub") == quantized
    assert tokens_of(tmp_path / "float", dtype="bfloat16") != quantized  # or the comparison would prove nothing


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("name", "repo", "checkpoint", "file"),
    [
        ("bitblas_prequantized.py", "hxbgsyxh/llama-13b-4bit-g-1-bitblas", "bitblas-int4-gchannel", "model.safetensors"),
        ("bitblas_gptq.py", "hxbgsyxh/llama-13b-4bit-g-1", "gptq-4bit-gchannel", "gptq_model-4bit--1g.safetensors"),
    ],
)
def test_bitblas_example(run_python, tmp_path, copy_of, name, repo, checkpoint, file, nested):
    """The settings stand in a side file, as the tools of the time left them."""
    directory = copy_of(find_checkpoint(checkpoint))
    config = json.loads((directory / "config.json").read_text())
    settings = config.pop("quantization_config")
    (directory / "config.json").write_text(json.dumps(config))
    side = {"quantization_config": settings} if nested else settings
    (directory / "quantize_config.json").write_text(json.dumps(side))
    (directory / "model.safetensors").rename(directory / file)
    checkpoint_files.add_to_hub(tmp_path / "hub", repo, directory)
    dtype = "float16" if name == "bitblas_gptq.py" else "bfloat16"
    assert tokens_of_example(run_python, name, tmp_path / "hub") == tokens_of(directory, dtype=dtype)


IMPORTS = """
import importlib.metadata, sys
import vllm
from vllm import LLM, SamplingParams, RequestOutput, CompletionOutput, TextPrompt, TokensPrompt, PromptType
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.entrypoints.llm import LLM as SameLLM
from vllm.exceptions import VLLMValidationError
from vllm.inputs import TokensPrompt
from vllm.logprobs import Logprob
from vllm.lora.request import LoRARequest
from vllm.outputs import RequestOutput
from vllm.sampling_params import BeamSearchParams, RequestOutputKind, StructuredOutputsParams
from vllm import EngineArgs, PoolingParams
from vllm.beam_search import BeamSearchOutput
from vllm.engine.arg_utils import EngineArgs as SameArgs
from vllm.inputs.data import TextPrompt
from vllm.renderers.hf import resolve_chat_template
from vllm.tokenizers import get_tokenizer
from vllm.transformers_utils.tokenizer import get_tokenizer as same_get_tokenizer
from vllm.utils import FlexibleArgumentParser
from vllm.utils.argparse_utils import FlexibleArgumentParser
import packhorse
assert SameArgs is EngineArgs and same_get_tokenizer is get_tokenizer
assert SameLLM is LLM is packhorse.LLM
assert vllm.__version__ == importlib.metadata.version("vllm") == "0.33.0+packhorse"
LoRARequest("name", 1, "path")
cleanup_dist_env_and_memory()
try:
    PoolingParams()
except VLLMValidationError as error:
    assert "only text generation" in str(error)
try:
    import vllm.no_such_module
except ModuleNotFoundError:
    print(*sys.argv[1:], __name__)
"""


def test_modules_of_a_program(run_python):
    result = run_python(IMPORTS, "--flag", "value", module="packhorse.as_vllm")
    assert (result.returncode, result.stdout) == (0, "--flag value __main__\n"), result.stderr


def test_modules_after_an_import(run_python):
    result = run_python("import packhorse.as_vllm\n" + IMPORTS)
    assert (result.returncode, result.stdout) == (0, "__main__\n"), result.stderr


ASYNCHRONOUS = """
import asyncio, sys
from vllm import AsyncEngineArgs, AsyncLLMEngine, EmbeddingRequestOutput, PoolingParams, SamplingParams
from vllm.config import PoolerConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.outputs import PoolingRequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.reader import Counter

async def main():
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=sys.argv[1], max_model_len=64, use_tqdm_on_load=False))
    params = SamplingParams(temperature=0, max_tokens=5, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
    n_tokens = 0
    async for output in engine.generate(request_id="1", prompt="Hello", sampling_params=params):
        n_tokens += len(output.outputs[0].token_ids)
    engine.shutdown()
    return n_tokens

assert AsyncLLMEngine is AsyncLLM
print(asyncio.run(main()))
"""


def test_asynchronous_program(run_python, nf4_directory):
    result = run_python(ASYNCHRONOUS, nf4_directory, module="packhorse.as_vllm")
    assert (result.returncode, result.stdout) == (0, "5\n"), result.stderr


def test_a_module_as_the_program(run_python, tmp_path):
    (tmp_path / "other.py").write_text("import sys, vllm\nprint(sys.argv[1:], __name__)\n")
    result = run_python("import runpy, sys\nsys.argv[1:1] = ['-m', 'other']\nrunpy.run_module('packhorse.as_vllm', run_name='__main__')\n", "x")
    assert result.stdout == "['x'] __main__\n", result.stderr


def test_installed_vllm_is_shadowed(run_python, tmp_path):
    (tmp_path / "vllm.py").write_text("__version__ = '1'\n")
    result = run_python("import packhorse.as_vllm, vllm\nprint(vllm.__version__)\n")
    assert result.stdout == "0.33.0+packhorse\n" and len(result.stderr.splitlines()) == 1


def test_imported_vllm_is_an_error(run_python, tmp_path):
    (tmp_path / "vllm.py").write_text("__version__ = '1'\n")
    result = run_python("import vllm\nimport packhorse.as_vllm\n")
    assert result.returncode == 1 and "ImportError: vllm is imported already" in result.stderr


def test_no_such_program(run_python, tmp_path):
    result = run_python(f"import sys, packhorse.as_vllm\npackhorse.as_vllm.run([{str(tmp_path / 'none.py')!r}])\n")
    assert result.returncode == 2 and result.stderr.startswith("error: ") and "none.py" in result.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_torch_dtypes(run_python):
    text = "import torch\nprint(torch.bfloat16, torch.half, torch.float, isinstance(torch.int8, torch.dtype))\n"
    assert run_python(text, module="packhorse.as_vllm").stdout == "torch.bfloat16 torch.float16 torch.float32 True\n"
    assert "No module named 'torch'" in run_python("import packhorse.as_vllm, torch").stderr


# As programs do that take their engine's arguments from the command line and template chats themselves.
OWN_PARSER = """
from vllm import LLM, EngineArgs, SamplingParams
from vllm.renderers.hf import resolve_chat_template
from vllm.tokenizers import get_tokenizer
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
EngineArgs.add_cli_args(parser)
parser.set_defaults(max_model_len=64)
parser.add_argument_group("Sampling parameters").add_argument("--max-tokens", type=int)
args = vars(parser.parse_args())
max_tokens = args.pop("max_tokens")
tokenizer = get_tokenizer(args["model"], tokenizer_mode="auto", trust_remote_code=False)
template = resolve_chat_template(tokenizer, None, None, model_config=None)
assert template == tokenizer.chat_template
prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False)
llm = LLM(**args)
assert tokenizer("Hello there").input_ids == llm.get_tokenizer().encode("Hello there")
assert tokenizer.decode(tokenizer.eos_token_id) == tokenizer.eos_token == llm.get_tokenizer().eos_token
assert llm.get_tokenizer().chat_template == template
output, = llm.chat([{"role": "user", "content": "Hi"}], SamplingParams(max_tokens=max_tokens, ignore_eos=True), use_tqdm=False)
assert output.prompt == prompt
print(len(output.outputs[0].token_ids))
"""


def test_a_program_with_its_own_parser(run_python, nf4_directory):
    result = run_python(
        OWN_PARSER, "--model", nf4_directory, "--max_tokens", "3", "--no-use-tqdm-on-load", module="packhorse.as_vllm"
    )
    assert (result.returncode, result.stdout) == (0, "3\n"), result.stderr


def test_tokenizers_need_no_weights(copy_of, nf4_directory):
    directory = copy_of(nf4_directory)
    whole = packhorse_tokenizer.get_tokenizer(directory)
    (directory / "model.safetensors").unlink()
    (directory / "config.json").unlink()
    text = packhorse_tokenizer.get_tokenizer(str(directory))
    assert text.encode("Hello there") == whole.encode("Hello there") and text.chat_template == whole.chat_template
    (directory / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        packhorse_tokenizer.get_tokenizer(directory)
