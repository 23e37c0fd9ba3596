"""One text for one fault: the exception of the package is the line of the program without "error: "."""

import numpy as np
import pytest

import packhorse
from checkpoint_files import read_safetensors, write_safetensors
from packhorse import LLM, SamplingParams

STATUS = {ValueError: 2, packhorse.VLLMValidationError: 2, packhorse.ModelError: 3, packhorse.ResourceError: 4, OSError: 5}


@pytest.fixture
def error_of(run_program, nf4_directory):
    """Opens a model in both ways, which must fail alike, and returns the text."""
    LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False)

    def check(kind, model=nf4_directory, **options):
        with pytest.raises(kind) as caught:
            LLM(str(model), use_tqdm_on_load=False, **options)
        assert type(caught.value) is kind
        flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        result = run_program("inspect", model, *flags)
        assert (result.returncode, result.stderr) == (STATUS[kind], f"error: {caught.value}\n")
        return str(caught.value)

    return check


def test_fault_036_model_error(error_of, copy_of, nf4_directory):
    directory = copy_of(nf4_directory)
    (directory / "model.safetensors").write_bytes(b"short")
    assert error_of(packhorse.ModelError, directory) == "model.safetensors: header length needs 8 bytes, file has 5"


def test_fault_049_model_error(error_of, copy_of, nf4_directory):
    directory = copy_of(nf4_directory)
    config = directory / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": ', '"num_hidden_layers": 1'))
    assert error_of(packhorse.ModelError, directory).startswith(f"{directory}: missing tensor 'model.layers.")


def test_fault_053_model_error(error_of, copy_of, nf4_directory):
    directory = copy_of(nf4_directory)
    tensors = read_safetensors(directory / "model.safetensors")
    name = next(name for name in tensors if "quant_state" in name)
    state = tensors[name].tobytes()
    tensors[name] = np.frombuffer(state.replace(b'"blocksize": 64', b'"blocksize": 48'), np.uint8)
    assert tensors[name].tobytes() != state
    write_safetensors(directory / "model.safetensors", tensors)
    text = error_of(packhorse.ModelError, directory)
    assert text == f"model.safetensors: tensor '{name}': blocksize: not a power of two in 32..4096 (got 48)"


def test_fault_124_os_error(error_of):
    assert error_of(OSError, "a" * 5000).endswith("cannot open: File name too long")


def test_fault_099_resource_error(error_of, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "0.00000001")
    assert error_of(packhorse.ResourceError, max_model_len=64).startswith("KV cache: max_model_len 64 needs ")


def test_fault_104_resource_error(error_of):
    assert "cuda" in error_of(packhorse.ResourceError, device="cuda")


def test_fault_122_usage_error(error_of):
    assert "100000000 is greater than the model's own limit" in error_of(ValueError, max_model_len=100_000_000)


def test_fault_079_request_error(run_program, nf4_directory):
    llm = LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False)
    with pytest.raises(packhorse.VLLMValidationError) as caught:
        llm.generate("Hello", SamplingParams(temperature=-1), use_tqdm=False)
    result = run_program("run", nf4_directory, "-p", "Hello", "--temperature", "-1")
    assert (result.returncode, result.stderr) == (2, f"error: {caught.value}\n")


def test_fault_026_warnings(copy_of, nf4_directory):
    """Tensors that the model has no use of are one warning."""
    directory = copy_of(nf4_directory)
    tensors = read_safetensors(directory / "model.safetensors")
    extra = tensors["model.norm.weight"]
    write_safetensors(directory / "model.safetensors", {**tensors, "extra.a": extra, "extra.b": extra})
    with pytest.warns(UserWarning) as caught:
        LLM(directory, max_model_len=64, use_tqdm_on_load=False)
    assert [str(warning.message) for warning in caught] == [
        "model.safetensors: tensor 'extra.a': the model has no use of it (and of 1 more, which --verbose lists)"
    ]
