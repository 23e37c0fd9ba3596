#!/usr/bin/env python3
"""Writes a random-weight Llama or Qwen2 model in an encoding: a GGUF file if --out ends in .gguf, else a directory.

The default is a Llama of 0.75 billion parameters. One seed and shape is one model in every encoding that really
quantizes: floats, bitsandbytes, GGUF's q types from q2_k to q8_0. The others hold random codes, since memory and speed
depend on no value. Needs Python 3.11 and NumPy.

  .venv/bin/python bench/make_model.py --encoding q4_k --out model-q4_k.gguf
  .venv/bin/python bench/make_model.py --encoding nf4 --out model-nf4
"""

import argparse
import sys
import time
from pathlib import Path

from model_writer import gguf_file, safetensors_file, vocabulary
from model_writer.architecture import Architecture
from model_writer.gguf_blocks import GGUF_ENCODERS
from model_writer.hf_encoders import HF_ENCODERS
from model_writer.weights import Weights


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="file that ends in .gguf, or a directory")
    parser.add_argument("--encoding", required=True, type=str.lower,
                        help=f"GGUF: {', '.join(GGUF_ENCODERS)}; directory: {', '.join(HF_ENCODERS)}")
    parser.add_argument("--arch", choices=("llama", "qwen2"), default="llama", help="qwen2 has biases on q, k and v")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=1536)
    parser.add_argument("--intermediate", type=int, default=5120)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--kv-heads", type=int, default=4)
    parser.add_argument("--head-dim", type=int, help="default: hidden / heads")
    parser.add_argument("--vocab", type=int, help="default: 49152, or the size of --tokenizer's vocabulary")
    parser.add_argument("--tied", action="store_true", help="the embedding is the head")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--tokenizer", metavar="DIR_OR_GGUF", help="copy this vocabulary instead of making one up")
    words.add_argument("--no-vocab", action="store_true", help="write no tokenizer: the model takes token ids alone")
    return parser.parse_args()


def progress(tensors):
    """Yields the tensors and tells on stderr, about ten times, how far it is."""
    start, step = time.monotonic(), max(1, len(tensors) // 10)
    for i, tensor in enumerate(tensors):
        if i % step == 0:
            print(f"{i:5}/{len(tensors)} tensors {time.monotonic() - start:6.1f} s", file=sys.stderr)
        yield tensor
    print(f"{len(tensors):5}/{len(tensors)} tensors {time.monotonic() - start:6.1f} s", file=sys.stderr)


def main():
    arguments = parse_arguments()
    as_gguf = arguments.out.suffix == ".gguf"
    encoders = GGUF_ENCODERS if as_gguf else HF_ENCODERS
    if arguments.encoding not in encoders:
        container = "a GGUF file" if as_gguf else "a model directory"
        raise SystemExit(f"error: {container} cannot hold '{arguments.encoding}', only {', '.join(encoders)}")
    words = vocabulary.none() if arguments.no_vocab else vocabulary.load(arguments.tokenizer, arguments.vocab)
    architecture = Architecture(
        name=arguments.arch, layers=arguments.layers, hidden=arguments.hidden, intermediate=arguments.intermediate,
        heads=arguments.heads, kv_heads=arguments.kv_heads,
        head_dim=arguments.head_dim or arguments.hidden // arguments.heads,
        vocab=arguments.vocab or len(words.tokens) or vocabulary.DEFAULT_SIZE, tied=arguments.tied)
    container = gguf_file if as_gguf else safetensors_file
    container.write(arguments.out, architecture, Weights(arguments.seed), words, arguments.encoding, progress)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        raise SystemExit(f"error: {error}") from None
