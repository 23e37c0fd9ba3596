"""Packhorse runs any quantized language model on the machine at hand. Names follow vLLM's offline API:

    from packhorse import LLM, SamplingParams
    llm = LLM("demo")
    print(llm.generate("The capital of Japan is", SamplingParams(temperature=0))[0].outputs[0].text)
"""

from ._packhorse import version as _version
from ._packhorse import version_text
from .beam_search import BeamSearchOutput, BeamSearchSequence
from .engine_args import EngineArgs
from .errors import ModelError, ResourceError, VLLMClientError, VLLMError, VLLMValidationError
from .inputs import PromptType, TextPrompt, TokensPrompt
from .llm import LLM
from .outputs import CompletionOutput, Logprob, RequestOutput
from .sampling_params import BeamSearchParams, RequestOutputKind, SamplingParams, StructuredOutputsParams
from .tokenizer import Tokenizer

__version__ = _version()

__all__ = [
    "BeamSearchOutput",
    "BeamSearchParams",
    "BeamSearchSequence",
    "CompletionOutput",
    "EngineArgs",
    "LLM",
    "Logprob",
    "ModelError",
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
