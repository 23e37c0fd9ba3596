"""Packhorse runs any quantized language model on the machine at hand. Names follow vLLM's offline API:

    from packhorse import LLM, SamplingParams
    llm = LLM("demo")
    print(llm.generate("The capital of Japan is", SamplingParams(temperature=0))[0].outputs[0].text)
"""

from ._packhorse import version as _version
from ._packhorse import version_text
from .async_llm import AsyncLLM, AsyncLLMEngine
from .beam_search import BeamSearchOutput, BeamSearchSequence
from .engine_args import AsyncEngineArgs, EngineArgs
from .errors import EngineDeadError, ModelError, ResourceError, VLLMClientError, VLLMError, VLLMValidationError
from .inputs import PromptType, TextPrompt, TokensPrompt
from .llm import LLM
from .outputs import CompletionOutput, Logprob, RequestOutput
from .pooling import (
    EmbeddingOutput,
    EmbeddingRequestOutput,
    PoolerConfig,
    PoolingOutput,
    PoolingParams,
    PoolingRequestOutput,
)
from .sampling_params import BeamSearchParams, RequestOutputKind, SamplingParams, StructuredOutputsParams
from .tokenizer import Tokenizer

__version__ = _version()

__all__ = [
    "AsyncEngineArgs",
    "AsyncLLM",
    "AsyncLLMEngine",
    "BeamSearchOutput",
    "BeamSearchParams",
    "BeamSearchSequence",
    "CompletionOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "EngineArgs",
    "EngineDeadError",
    "LLM",
    "Logprob",
    "ModelError",
    "PoolerConfig",
    "PoolingOutput",
    "PoolingParams",
    "PoolingRequestOutput",
    "PromptType",
    "RequestOutput",
    "RequestOutputKind",
    "ResourceError",
    "SamplingParams",
    "StructuredOutputsParams",
    "TextPrompt",
    "Tokenizer",
    "TokensPrompt",
    "VLLMClientError",
    "VLLMError",
    "VLLMValidationError",
    "version_text",
]
