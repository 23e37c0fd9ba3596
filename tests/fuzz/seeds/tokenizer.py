"""tokenizer.json or tokenizer.model, a text, and tokenizer_config.json."""

import json
import struct

from .parts import parts

LETTERS = ["h", "e", "l", "o", "Ġ", "w", "r", "d", "1", "2", "Ċ", "Ã", "¶"]


def byte_level(**changed):
    vocab = {token: i for i, token in enumerate(LETTERS + ["he", "ll", "llo", "hello", "Ġw", "Ġwo"])}
    n = len(vocab)
    model = {"type": "BPE", "vocab": vocab, "merges": ["h e", ["l", "l"], "ll o", "he llo", "Ġ w", "Ġw o"],
    "unk_token": None,
             "byte_fallback": False, "ignore_merges": False, "fuse_unk": False}  # fmt: skip
    added = [
        {
            "id": n,
            "content": "<s>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        },
        {
            "id": n + 1,
            "content": "<mask>",
            "single_word": True,
            "lstrip": True,
            "rstrip": True,
            "normalized": True,
            "special": False,
        },
    ]
    ends = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
    {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [n], "tokens": ["<s>"]}}}  # fmt: skip
    return {"version": "1.0", "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            "post_processor": ends, "decoder": {"type": "ByteLevel"}, "model": model} | changed  # fmt: skip


def sentencepiece_json(**changed):
    vocab = {
        token: i
        for i, token in enumerate(
            ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(0, 256, 5)] + ["▁", "h", "e", "l", "he", "▁he"]
        )
    }
    model = {
        "type": "BPE",
        "vocab": vocab,
        "merges": ["h e", "▁ he"],
        "unk_token": "<unk>",
        "byte_fallback": True,
        "fuse_unk": True,
    }
    steps = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    decoders = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
    {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]  # fmt: skip
    return {"added_tokens": [{"id": 1, "content": "<s>", "special": True}], "normalizer": {"type": "Sequence",
    "normalizers": steps},
            "pre_tokenizer": None, "decoder": {"type": "Sequence", "decoders": decoders},
            "model": model} | changed  # fmt: skip


def split(pattern, behavior="Isolated", kind="Regex", invert=False):
    steps = [
        {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
    ]
    return {"type": "Sequence", "pretokenizers": steps}


TEXT = "hello  world, hell\n12 <s><mask> h\u00f6"


def seeds():
    def seed(tokenizer, text=TEXT, config=""):
        return parts(json.dumps(tokenizer, ensure_ascii=False), text, config)

    yield "good_byte_level", seed(byte_level())
    yield "good_sentencepiece_json", seed(sentencepiece_json())
    yield "good_metaspace", seed(
        sentencepiece_json(
            normalizer=None,
            pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
        )
    )
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": None, "add_bos_token": True,
              "added_tokens_decoder": {"1": {"content": "<s>", "lstrip": True, "special": True}}}  # fmt: skip
    yield "good_config", seed(sentencepiece_json(), config=json.dumps(config))
    cl100k = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    patterns = [cl100k, r"\p{N}", r"[a-z&&[^x]]+", r"\s+", r"(?<x>l+)o"]
    for number, pattern in enumerate(patterns):
        behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
        yield f"good_split_{number}", seed(
            byte_level(pre_tokenizer=split(pattern, behaviors[number], invert=number % 2 == 1))
        )
    for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        yield f"good_{kind}", seed(
            byte_level(normalizer={"type": kind}), "He\u0301LLO \ufb01 \uac00\u0323\u0301 \u00df"
        )
    yield "good_strip", seed(
        byte_level(normalizer={"type": "Strip", "strip_left": True, "strip_right": False}), "  hello "
    )
    yield "good_digits", seed(
        byte_level(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}],
            }
        )
    )
    pieces = b""
    for token, kind in [
        ("<unk>", 2),
        ("<s>", 3),
        ("</s>", 3),
        ("<0x0A>", 6),
        ("▁", 1),
        ("h", 1),
        ("e", 1),
        ("he", 1),
        ("▁he", 4),
    ]:
        text = token.encode()
        body = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", -float(kind)) + b"\x18" + bytes([kind])
        pieces += b"\x0a" + bytes([len(body)]) + body
    trainer, normalizer = b"\x18\x02\x80\x02\x01", b"\x0a\x08identity\x18\x01\x20\x01\x28\x01"
    model = pieces + b"\x12" + bytes([len(trainer)]) + trainer + b"\x1a" + bytes([len(normalizer)]) + normalizer
    yield "good_sentencepiece_model", parts(model, TEXT)
    yield "056_model_cut", parts(model[:40], TEXT)
    yield "056_model_length", parts(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", TEXT)
    base = byte_level()
    yield "056_cut", json.dumps(base).encode()[:200]
    for key in ("normalizer", "pre_tokenizer", "decoder", "post_processor", "model"):
        yield f"056_{key}", seed(byte_level(**{key: {"type": "Unknown\n"}}))
    for number, change in enumerate(
        [{"x1": 2**31}, {"x1": -1}, {"x1": 1.5}, {"x1": 5}, {"x1": 2**20 - 1}, {"": 30}, {"<0xZZ>": 30, "<0x100>": 31}]
    ):
        yield f"057_vocab_{number}", seed(byte_level(model=base["model"] | {"vocab": base["model"]["vocab"] | change}))
    for number, change in enumerate(
        [{"id": 3}, {"id": 2**20}, {"content": ""}, {"content": "hello"}, {"content": 5}, {"id": 20}]
    ):
        added = [base["added_tokens"][0], base["added_tokens"][1] | change]
        yield f"057_added_{number}", seed(byte_level(added_tokens=added))
    for number, merge in enumerate(["a", "a b c", ["h"], ["h", 1], 5, "q x", "h h"]):
        yield f"059_merge_{number}", seed(byte_level(model=base["model"] | {"merges": [merge]}))
    for number, text in enumerate(
        [
            b"a\xff\xfe z",
            b"\xed\xa0\x80",
            b"\xe4\xbd",
            b"\xf4\x90\x80\x80",
            b"\0\0",
            b"h" * 2000,
            "\u0301\u0323".encode() * 300,
        ]
    ):
        yield f"060_text_{number}", parts(json.dumps(base), text)
    for number, pattern in enumerate(
        ["(a+)+$", "(.*)*x", "a{2,1}", "(", "[a", "\\p{Nonsense}", "(?R)", "\\C", "", "x*", "(?=h)", "h" * 300]
    ):
        yield f"061_pattern_{number}", seed(byte_level(pre_tokenizer=split(pattern)), "a" * 100 + "c h")
    grow = [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 30
    yield "061_growing", seed(byte_level(normalizer={"type": "Sequence", "normalizers": grow}), "a")
    yield "061_replace_empty", seed(
        byte_level(normalizer={"type": "Replace", "pattern": {"String": ""}, "content": "a"})
    )
    yield "061_replace_regex", seed(
        byte_level(normalizer={"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "e"})
    )
