"""Vocabularies for random models: made up (byte-level BPE) or copied from a directory or a GGUF file."""

import itertools
import json
import string
from dataclasses import dataclass, field
from pathlib import Path

from . import gguf_file

DEFAULT_SIZE = 49152
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # token types of GGUF
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
# Pre-tokenizers that both containers can express.
PRE_TOKENIZERS = {"gpt-2": BYTE_LEVEL, "smollm": {"type": "Sequence", "pretokenizers": [DIGITS, BYTE_LEVEL]}}
CHAT_TEMPLATE = ("{% for message in messages %}"
                 "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
                 "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
HF_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
            "merges.txt", "added_tokens.json", "chat_template.jinja", "generation_config.json")


@dataclass
class Vocabulary:
    tokens: list[str]
    types: list[int]
    merges: list[str]  # "left right"
    pre: str
    bos: int
    eos: int
    chat_template: str = ""
    metadata: list | None = None  # tokenizer.* of a GGUF file, copied
    files: dict[str, bytes] = field(default_factory=dict)  # of a directory, copied

    def gguf_metadata(self, size):
        """GGUF counts tokens, so a copied vocabulary is filled up to the model's size."""
        entries = self.metadata or self._own_metadata()
        fill = [f"<|unused_{i}|>" for i in range(size - len(self.tokens))]
        fillers = {"tokens": fill, "token_type": [UNUSED] * len(fill), "scores": [-1e4] * len(fill)}
        filled = {"tokenizer.ggml." + name: values for name, values in fillers.items()}
        return [(key, kind, value + filled[key] if key in filled else value) for key, kind, value in entries]

    def _own_metadata(self):
        if self.pre not in PRE_TOKENIZERS:
            raise SystemExit("error: the pre-tokenizer of tokenizer.json has no GGUF name: give a GGUF file")
        entries = [
            ("tokenizer.ggml.model", "string", "gpt2"),
            ("tokenizer.ggml.pre", "string", self.pre),
            ("tokenizer.ggml.tokens", "string[]", self.tokens),
            ("tokenizer.ggml.token_type", "i32[]", self.types),
            ("tokenizer.ggml.merges", "string[]", self.merges),
            ("tokenizer.ggml.bos_token_id", "u32", self.bos),
            ("tokenizer.ggml.eos_token_id", "u32", self.eos),
            ("tokenizer.ggml.add_bos_token", "bool", False),
        ]
        return entries + ([("tokenizer.chat_template", "string", self.chat_template)] if self.chat_template else [])

    def hf_files(self):
        if self.files or not self.tokens:
            return self.files
        if self.pre not in PRE_TOKENIZERS:
            raise SystemExit(f"error: no tokenizer.json for pre-tokenizer '{self.pre}': give a directory")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": self.tokens[self.bos],
                  "eos_token": self.tokens[self.eos], "add_bos_token": False, "clean_up_tokenization_spaces": False}
        if self.chat_template:
            config["chat_template"] = self.chat_template
        return {"tokenizer.json": json.dumps(self._tokenizer_json(), ensure_ascii=False).encode("utf-8"),
                "tokenizer_config.json": json.dumps(config, indent=2).encode("utf-8")}

    def _tokenizer_json(self):
        added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                  "normalized": False, "special": kind == CONTROL}
                 for i, (token, kind) in enumerate(zip(self.tokens, self.types)) if kind in (CONTROL, USER_DEFINED)]
        model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                 "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                 "vocab": {token: i for i, token in enumerate(self.tokens)}, "merges": self.merges}
        return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
                "pre_tokenizer": PRE_TOKENIZERS[self.pre], "post_processor": None, "decoder": BYTE_LEVEL,
                "model": model}


def byte_alphabet():
    """The visible character that stands for each byte in a byte-level vocabulary."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    stand_ins = itertools.count(256)
    return [chr(byte) if byte in visible else chr(next(stand_ins)) for byte in range(256)]


def made_up_merges():
    """(left, right) such that every result is new: two, three, four letters, with and without a space first."""
    letters, space = string.ascii_lowercase, byte_alphabet()[ord(" ")]
    pairs = ["".join(pair) for pair in itertools.product(letters, letters)]
    yield from itertools.product(space, letters)
    yield from itertools.product(letters, letters)
    yield from ((space + pair[0], pair[1]) for pair in pairs)
    yield from itertools.product(pairs, letters)
    yield from itertools.product((space + pair for pair in pairs), letters)
    yield from itertools.product(pairs, pairs)


def synthetic(size):
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    base = specials + byte_alphabet()
    merges = list(itertools.islice(made_up_merges(), size - len(base))) if size > len(base) else []
    tokens = base + [left + right for left, right in merges]
    if len(tokens) != size:
        raise SystemExit(f"error: a made-up vocabulary has {len(base)} to 490,000 tokens, not {size}")
    types = [CONTROL] * len(specials) + [NORMAL] * (size - len(specials))
    return Vocabulary(tokens, types, [" ".join(pair) for pair in merges], "gpt-2", 1, 2, CHAT_TEMPLATE)


def same_pre_tokenizer(ours, theirs):
    """Compares what matters to the split; trim_offsets does not."""
    def essence(node):
        if node["type"] == "Sequence":
            return [essence(child) for child in node["pretokenizers"]]
        return {key: value for key, value in node.items() if key != "trim_offsets"}
    return essence(ours) == essence(theirs)


def from_directory(path):
    files = {name: (path / name).read_bytes() for name in HF_FILES if (path / name).is_file()}
    if "tokenizer.json" not in files:
        raise SystemExit(f"error: {path} has no tokenizer.json")
    tokenizer = json.loads(files["tokenizer.json"])
    config = json.loads(files.get("tokenizer_config.json", b"{}"))
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    if model["type"] != "BPE":
        raise SystemExit(f"error: {path}/tokenizer.json holds a {model['type']} model; only BPE can be copied")
    ids = model["vocab"] | {token["content"]: token["id"] for token in added}
    tokens = [f"<|unused_{i}|>" for i in range(max(ids.values()) + 1)]
    types = [UNUSED] * len(tokens)
    for token, i in ids.items():
        tokens[i], types[i] = token, NORMAL
    for token in added:
        types[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    splits = tokenizer["pre_tokenizer"] or {"type": "Sequence", "pretokenizers": []}
    pre = next((name for name, known in PRE_TOKENIZERS.items() if same_pre_tokenizer(known, splits)), "")

    def special(key, default):
        name = config.get(key)
        name = name["content"] if isinstance(name, dict) else name
        return ids.get(name, default)

    template = files.get("chat_template.jinja", b"").decode("utf-8") or config.get("chat_template") or ""
    eos = special("eos_token", 0)
    return Vocabulary(tokens, types, merges, pre, special("bos_token", eos), eos, template, files=files)


def from_gguf(path):
    metadata = [entry for entry in gguf_file.read_metadata(path) if entry[0].startswith("tokenizer.")]
    values = {key.removeprefix("tokenizer.ggml."): value for key, _, value in metadata}
    if "tokens" not in values:
        raise SystemExit(f"error: {path} holds no vocabulary")
    tokens = values["tokens"]
    pre = values.get("pre", "") if values.get("model") == "gpt2" else str(values.get("model"))
    return Vocabulary(tokens, values.get("token_type", [NORMAL] * len(tokens)), values.get("merges", []), pre,
                      values.get("bos_token_id", 0), values.get("eos_token_id", 0),
                      values.get("tokenizer.chat_template", ""), metadata=metadata)


def none():
    """What llama.cpp's converter writes for a model without a tokenizer: a name that says so, and no files."""
    return Vocabulary([], [], [], "", 1, 2, metadata=[("tokenizer.ggml.model", "string", "no_vocab")])


def load(source, size):
    """`source`: directory, GGUF file, or None = made up; `size`: None = the source's own, DEFAULT_SIZE when made up."""
    if source is None:
        return synthetic(size or DEFAULT_SIZE)
    path = Path(source)
    vocabulary = from_directory(path) if path.is_dir() else from_gguf(path)
    if size and size < len(vocabulary.tokens):
        raise SystemExit(f"error: --vocab {size} is less than the {len(vocabulary.tokens)} tokens of {source}")
    return vocabulary
