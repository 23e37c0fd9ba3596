"""LLM: vLLM's offline interface on a real checkpoint."""

import inspect
import json
import signal
import threading

import pytest

import packhorse
from checkpoint_files import bf16_to_f32, f32_to_bf16, read_safetensors, write_safetensors
from packhorse import LLM, SamplingParams, VLLMValidationError

GREEDY = SamplingParams(temperature=0, max_tokens=8)
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}bot:{% endif %}"


@pytest.fixture(scope="module")
def llm(nf4_directory):
    return LLM(nf4_directory, max_model_len=256, use_tqdm_on_load=False)


def tokens(outputs):
    return [list(output.outputs[0].token_ids) for output in outputs]


def test_signature_is_vllms():
    parameters = inspect.signature(LLM).parameters
    assert parameters["model"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    expected = {
        "dtype": "auto", "quantization": None, "seed": 0, "gpu_memory_utilization": 0.92, "tensor_parallel_size": 1,
        "trust_remote_code": False, "enforce_eager": False, "tokenizer_mode": "auto", "cpu_offload_gb": 0,
    }  # fmt: skip
    assert {name: parameters[name].default for name in expected} == expected
    assert list(inspect.signature(LLM.generate).parameters)[1:4] == ["prompts", "sampling_params", "use_tqdm"]


def test_forms_of_a_prompt(llm):
    ids = llm.get_tokenizer().encode("Hello there")
    forms = ["Hello there", {"prompt": "Hello there"}, {"prompt_token_ids": ids}, ids]
    outputs = llm.generate(forms, GREEDY, use_tqdm=False)
    assert all(output.prompt_token_ids == ids for output in outputs)
    assert len({tuple(each) for each in tokens(outputs)}) == 1
    assert [output.prompt for output in outputs[:2]] == ["Hello there"] * 2
    for form in forms:
        assert tokens(llm.generate(form, GREEDY, use_tqdm=False)) == tokens(outputs)[:1]
    assert llm.generate([], GREEDY, use_tqdm=False) == []


def test_output_fields(llm):
    (output,) = llm.generate("Hello", GREEDY, use_tqdm=False)
    (completion,) = output.outputs
    assert output.finished and completion.finished() and completion.index == 0
    assert completion.finish_reason == "length" and len(completion.token_ids) == 8
    assert completion.text == llm.get_tokenizer().decode(completion.token_ids, skip_special_tokens=True)
    assert completion.logprobs is None and completion.cumulative_logprob is None and output.prompt_logprobs is None
    assert output.metrics.last_token_ts >= output.metrics.first_token_ts > 0


def test_results_keep_the_order_of_the_prompts(llm):
    prompts = ["Hello", "One two three", "The capital of"]
    params = [SamplingParams(temperature=0, max_tokens=n) for n in (12, 3, 6)]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    assert [output.prompt for output in outputs] == prompts
    assert [len(each) for each in tokens(outputs)] == [12, 3, 6]
    assert tokens(outputs) == [
        tokens(llm.generate(prompt, each, use_tqdm=False))[0] for prompt, each in zip(prompts, params)
    ]
    with pytest.raises(ValueError, match="one for each prompt"):
        llm.generate(prompts, params[:2], use_tqdm=False)


def test_logprobs(llm):
    params = SamplingParams(temperature=0, max_tokens=4, logprobs=3, prompt_logprobs=2)
    (output,) = llm.generate("Hello there", params, use_tqdm=False)
    completion = output.outputs[0]
    assert len(completion.logprobs) == 4
    for token_id, position in zip(completion.token_ids, completion.logprobs):
        assert 3 <= len(position) <= 4
        assert position[token_id].rank == 1 and position[token_id].logprob == max(p.logprob for p in position.values())
        assert isinstance(position[token_id].decoded_token, str)
    total = sum(position[token_id].logprob for token_id, position in zip(completion.token_ids, completion.logprobs))
    assert completion.cumulative_logprob == pytest.approx(total)
    assert output.prompt_logprobs[0] is None and len(output.prompt_logprobs) == len(output.prompt_token_ids)
    for token_id, position in zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:]):
        assert token_id in position


def test_whole_vocabulary(nf4_directory):
    llm = LLM(nf4_directory, max_model_len=64, max_logprobs=-1, use_tqdm_on_load=False)
    params = SamplingParams(temperature=0, max_tokens=1, logprobs=-1, prompt_logprobs=-1)
    (output,) = llm.generate("Hello there", params, use_tqdm=False)
    vocab_size = llm.get_tokenizer().vocab_size
    assert len(output.outputs[0].logprobs[0]) == vocab_size
    assert {len(position) for position in output.prompt_logprobs[1:]} == {vocab_size}


def test_several_outputs_of_one_prompt(llm):
    params = SamplingParams(n=3, temperature=1.0, seed=7, max_tokens=8)
    (first,), (second,) = (llm.generate("Hello", params, use_tqdm=False) for _ in range(2))
    assert [completion.index for completion in first.outputs] == [0, 1, 2]
    assert [c.token_ids for c in first.outputs] == [c.token_ids for c in second.outputs]  # the seed decides
    assert len({tuple(c.token_ids) for c in first.outputs}) > 1


def first_tokens(llm, **params):
    (output,) = llm.generate("Hello", SamplingParams(temperature=0, max_tokens=4, **params), use_tqdm=False)
    return list(output.outputs[0].token_ids)


def forced_score(llm, token_id):
    """Log-probability of a token after "Hello", as a prompt token."""
    prompt = llm.get_tokenizer().encode("Hello") + [token_id]
    params = SamplingParams(max_tokens=1, prompt_logprobs=0)
    (output,) = llm.generate({"prompt_token_ids": prompt}, params, use_tqdm=False)
    return output.prompt_logprobs[-1][token_id].logprob


def test_logit_bias(llm):
    free = first_tokens(llm)
    assert first_tokens(llm, logit_bias={77: 100.0}) == [77] * 4
    assert first_tokens(llm, logit_bias={77: 1e30}) == [77] * 4  # no more than 100 counts
    assert first_tokens(llm, logit_bias={free[0]: float("-inf")})[0] != free[0]
    params = SamplingParams(temperature=0, max_tokens=1, logprobs=1)
    (plain,) = llm.generate("Hello", params, use_tqdm=False)
    params.logit_bias = {77: 100.0}
    (biased,) = llm.generate("Hello", params, use_tqdm=False)
    best = plain.outputs[0].logprobs[0][free[0]].logprob
    assert biased.outputs[0].logprobs[0][free[0]].logprob == best  # log-probabilities are the model's own
    assert biased.outputs[0].logprobs[0][77].logprob < best and biased.outputs[0].logprobs[0][77].rank > 1


def test_allowed_token_ids(llm):
    assert set(first_tokens(llm, allowed_token_ids=[10, 20, 30])) <= {10, 20, 30}
    scores = {token_id: forced_score(llm, token_id) for token_id in (10, 20, 30)}
    assert first_tokens(llm, allowed_token_ids=[10, 20, 30])[0] == max(scores, key=scores.get)


def test_bad_words(llm):
    tokenizer = llm.get_tokenizer()
    free = first_tokens(llm)
    word = tokenizer.decode(free[:2])
    forms = [tokenizer.encode(text, add_special_tokens=False) for text in (word.lstrip(), " " + word.lstrip())]
    assert free[:2] in forms  # or the test would ban something else
    banned = first_tokens(llm, bad_words=[word])
    assert banned[0] == free[0] and banned[1] != free[1]  # only what would complete the word


@pytest.mark.parametrize(
    "name, value", [("logit_bias", {10**6: 1.0}), ("logit_bias", {-1: 1.0}), ("allowed_token_ids", [1, 10**6]),
                    ("stop_token_ids", [10**6]), ("logprobs", 21), ("bad_words", [" "])],
)  # fmt: skip
def test_errors_of_the_engine_name_the_parameter(llm, name, value):
    with pytest.raises(VLLMValidationError, match=name) as caught:
        llm.generate(["Hello"], SamplingParams(**{name: value}), use_tqdm=False)
    assert (caught.value.parameter, caught.value.value) == (name, value)


def test_enqueue(llm):
    expected = llm.generate(["Hello", "One two"], GREEDY, use_tqdm=False)
    first = llm.enqueue(["Hello", "One two"], GREEDY, use_tqdm=False)
    second = llm.enqueue_chat([{"role": "user", "content": "Hi"}], GREEDY, use_tqdm=False, chat_template=TEMPLATE)
    assert [len(first), len(second)] == [2, 1] and all(isinstance(each, str) for each in first + second)
    own = llm.generate("Hello", GREEDY, use_tqdm=False)  # returns its own results alone
    assert tokens(own) == tokens(expected)[:1]
    outputs = llm.wait_for_completion(packhorse.RequestOutput, use_tqdm=False)
    assert [output.request_id for output in outputs] == first + second
    assert tokens(outputs)[:2] == tokens(expected) and outputs[2].prompt == "user: Hi\nbot:"
    assert llm.wait_for_completion(use_tqdm=False) == []
    with pytest.raises(VLLMValidationError):
        llm.enqueue(["Hello", ""], GREEDY, use_tqdm=False)
    assert llm.wait_for_completion(use_tqdm=False) == []  # none of a list that was refused
    with pytest.raises(TypeError):
        llm.wait_for_completion(int)


def test_other_pooling_tasks_are_refused(llm):
    for name in ("classify", "reward", "score"):
        with pytest.raises(VLLMValidationError, match="only embed is supported"):
            getattr(llm, name)("Hello")


def test_stop(llm):
    (free,) = llm.generate("Hello", SamplingParams(temperature=0, max_tokens=16), use_tqdm=False)
    token_id = free.outputs[0].token_ids[5]
    n_before = free.outputs[0].token_ids.index(token_id)
    params = SamplingParams(temperature=0, max_tokens=16, stop_token_ids=[token_id])
    (stopped,) = llm.generate("Hello", params, use_tqdm=False)
    assert stopped.outputs[0].finish_reason == "stop" and stopped.outputs[0].stop_reason == token_id
    assert len(stopped.outputs[0].token_ids) == n_before + 1
    word = free.outputs[0].text[3:7]
    (stopped,) = llm.generate("Hello", SamplingParams(temperature=0, max_tokens=16, stop=word), use_tqdm=False)
    assert stopped.outputs[0].stop_reason == word
    assert stopped.outputs[0].text == free.outputs[0].text[: free.outputs[0].text.index(word)]


def test_end_of_sequence(llm, copy_of, nf4_directory):
    free = llm.generate("Hello", GREEDY, use_tqdm=False)[0].outputs[0]
    end = free.token_ids[0]
    directory = copy_of(nf4_directory)
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, end]}))
    ending = LLM(directory, max_model_len=64, use_tqdm_on_load=False)
    (output,) = ending.generate("Hello", GREEDY, use_tqdm=False)
    assert (output.outputs[0].finish_reason, len(output.outputs[0].token_ids)) == ("stop", 1)
    ignoring = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
    assert tokens(ending.generate("Hello", ignoring, use_tqdm=False)) == [list(free.token_ids)]


def test_chat(nf4_directory, llm):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    (output,) = llm.chat(messages, GREEDY, use_tqdm=False, chat_template=TEMPLATE)
    assert output.prompt == "system: Be brief.\nuser: Hi\nbot:"
    two = llm.chat([messages, messages[1:]], GREEDY, use_tqdm=False, chat_template=TEMPLATE)
    assert [o.prompt for o in two] == [output.prompt, "user: Hi\nbot:"] and tokens(two)[:1] == tokens([output])
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    (output,) = llm.chat(parts, GREEDY, False, chat_template=TEMPLATE, add_generation_prompt=False)
    assert output.prompt == "user: a\nb\n"
    with pytest.raises(VLLMValidationError, match="image_url"):
        llm.chat([{"role": "user", "content": [{"type": "image_url"}]}], use_tqdm=False, chat_template=TEMPLATE)
    own = LLM(nf4_directory, max_model_len=64, chat_template=TEMPLATE, use_tqdm_on_load=False)
    assert own.chat(messages[1:], GREEDY, use_tqdm=False)[0].prompt == "user: Hi\nbot:"


def test_chat_without_a_template(without_template):
    llm = LLM(without_template, max_model_len=64, use_tqdm_on_load=False)
    assert llm.get_tokenizer().chat_template is None
    with pytest.raises(packhorse.ModelError, match="chat template"):
        llm.chat([{"role": "user", "content": "Hi"}], use_tqdm=False)


def test_tokenizer(llm):
    tokenizer = llm.get_tokenizer()
    ids = tokenizer.encode("Hello there")
    assert tokenizer("Hello there") == {"input_ids": ids} and tokenizer(["Hello there"]) == {"input_ids": [ids]}
    assert tokenizer.decode(tokenizer.encode("Hello there", add_special_tokens=False)) == "Hello there"
    assert (tokenizer.eos_token_id, len(tokenizer)) == (2, tokenizer.vocab_size)
    messages = [{"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(messages, chat_template=TEMPLATE, tokenize=False, add_generation_prompt=True)
    assert text == "user: Hi\nbot:"
    assert tokenizer.apply_chat_template(messages, chat_template=TEMPLATE) == tokenizer.encode("user: Hi\n", False)


def test_defaults_come_from_generation_config(copy_of, nf4_directory):
    directory = copy_of(nf4_directory)
    (directory / "generation_config.json").write_text('{"temperature": 0.25, "top_p": 0.5, "max_new_tokens": 5}')
    llm = LLM(directory, max_model_len=64, use_tqdm_on_load=False)
    params = llm.get_default_sampling_params()
    assert (params.temperature, params.top_p, params.max_tokens) == (0.25, 0.5, 5)
    assert len(llm.generate("Hello", use_tqdm=False)[0].outputs[0].token_ids) <= 5
    ignoring = LLM(directory, max_model_len=64, generation_config="vllm", use_tqdm_on_load=False)
    assert ignoring.get_default_sampling_params() == SamplingParams()
    overriding = LLM(
        directory, max_model_len=64, override_generation_config={"temperature": 0.75}, use_tqdm_on_load=False
    )
    assert overriding.get_default_sampling_params().temperature == 0.75
    assert overriding.get_default_sampling_params().max_tokens == 5
    for wrong, word in (({"temprature": 1}, "temprature"), ({"temperature": 3}, "temperature"), ({"top_k": "x"}, "top_k")):
        with pytest.raises(ValueError, match=word):
            LLM(directory, override_generation_config=wrong, use_tqdm_on_load=False)


def test_the_kv_cache_decides_on_the_length(nf4_directory, monkeypatch):
    def length(**arguments):
        return LLM(nf4_directory, use_tqdm_on_load=False, **arguments)._engine.max_model_len

    own = length()
    assert length(max_model_len=-1) == length(max_model_len="auto") == own
    one = LLM(nf4_directory, max_model_len=64, max_num_seqs=1, use_tqdm_on_load=False)
    n_bytes = json.loads(one._engine.inspect_json(False))["kv_cache_bytes"]
    assert length(max_model_len="auto", kv_cache_memory_bytes=n_bytes) == 64
    monkeypatch.setenv("PACKHORSE_MAX_MODEL_LEN", "32")
    assert length() == 32 and length(max_model_len="auto") == own
    with pytest.raises(packhorse.ResourceError, match="max_model_len 80"):
        length(max_model_len=80, kv_cache_memory_bytes=n_bytes)
    with pytest.raises(ValueError, match="max_model_len"):
        length(max_model_len=-2)


class TorchDType:
    """What a torch dtype shows of itself."""

    def __repr__(self):
        return "torch.float32"


def test_dtype_objects(nf4_directory, monkeypatch):
    by_object = LLM(nf4_directory, dtype=TorchDType(), max_model_len=64, use_tqdm_on_load=False)
    by_name = LLM(nf4_directory, dtype="float32", max_model_len=64, use_tqdm_on_load=False)
    monkeypatch.setenv("PACKHORSE_DTYPE", "float32")
    by_variable = LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False)
    params = SamplingParams(temperature=0, max_tokens=4, logprobs=1)
    logprobs = [each.generate("Hello", params, use_tqdm=False)[0].outputs[0].logprobs for each in (by_object, by_name, by_variable)]
    assert logprobs[0] == logprobs[1] == logprobs[2]


def test_what_is_asked_for_may_be_named(llm, nf4_directory):
    named = LLM(
        nf4_directory, quantization="bitsandbytes", load_format="bitsandbytes", trust_remote_code=True,
        max_model_len=256, enforce_eager=True, disable_log_stats=True, use_tqdm_on_load=False,
    )  # fmt: skip
    assert tokens(named.generate("Hello", GREEDY, use_tqdm=False)) == tokens(llm.generate("Hello", GREEDY, use_tqdm=False))


def test_arguments_that_do_not_fit(nf4_directory):
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_modl_len'"):
        LLM(nf4_directory, max_modl_len=5)
    with pytest.warns(UserWarning, match="swap_space"):
        LLM(nf4_directory, swap_space=4, max_model_len=64, use_tqdm_on_load=False)
    for name, value in {"enable_lora": True, "pipeline_parallel_size": 2, "tensor_parallel_size": 2,
                        "max_model_len": "long", "max_num_seqs": 0, "quantization": "no_such_method"}.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}|{name.replace('_', '-')}"):
            LLM(nf4_directory, **{name: value})
    with pytest.raises(packhorse.ResourceError, match="cuda"):
        LLM(nf4_directory, device="cuda")


def test_bad_models(tmp_path, copy_of, nf4_directory):
    with pytest.raises(packhorse.ModelError, match="nowhere"):
        LLM(str(tmp_path / "nowhere"))
    directory = copy_of(nf4_directory)
    (directory / "model.safetensors").write_bytes(b"short")
    with pytest.raises(packhorse.ModelError, match="model.safetensors"):
        LLM(directory)
    with pytest.raises(OSError):
        LLM("a" * 5000)


def test_a_bad_request_leaves_the_engine_as_it_was(llm):
    good = llm.generate("Hello", GREEDY, use_tqdm=False)
    vocab_size = llm.get_tokenizer().vocab_size
    for bad in ("", {"prompt_token_ids": [vocab_size]}, {"prompt_token_ids": [-1]}, "word " * 5000):
        with pytest.raises(VLLMValidationError):
            llm.generate(["Hello", bad], GREEDY, use_tqdm=False)
    for bad in (5, [1.5], {"prompt": 5}, {"text": "x"}, {"prompt": "x", "multi_modal_data": {"image": 1}}):
        with pytest.raises((VLLMValidationError, TypeError)):
            llm.generate(bad, GREEDY, use_tqdm=False)
    assert tokens(llm.generate("Hello", GREEDY, use_tqdm=False)) == tokens(good)


def test_threads_run_while_the_engine_steps(llm):
    """The engine works without the interpreter's lock."""
    stop, count = threading.Event(), [0]

    def count_up():
        while not stop.wait(0.0005):
            count[0] += 1

    thread = threading.Thread(target=count_up)
    thread.start()
    llm.generate(["Hello"] * 4, SamplingParams(temperature=0, max_tokens=100, ignore_eos=True), use_tqdm=False)
    stop.set()
    thread.join()
    assert count[0] > 0


def test_ctrl_c_stops_a_generation(llm):
    long = SamplingParams(temperature=0, max_tokens=None, ignore_eos=True)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            llm.generate(["Hello"] * 8, long, use_tqdm=False)
    timer.join()
    assert len(llm.generate("Hello", GREEDY, use_tqdm=False)) == 1


def test_not_finite_weights_end_only_the_request(copy_of, nf4_directory):
    """An output that is not finite has finish_reason "error"."""
    directory = copy_of(nf4_directory)
    tensors = read_safetensors(directory / "model.safetensors")
    norm = bf16_to_f32(tensors["model.norm.weight"]).copy()
    norm[0] = float("nan")
    write_safetensors(directory / "model.safetensors", {**tensors, "model.norm.weight": f32_to_bf16(norm)})
    llm = LLM(directory, max_model_len=64, use_tqdm_on_load=False)
    (output,) = llm.generate("Hello", GREEDY, use_tqdm=False)
    assert output.outputs[0].finish_reason == "error"
