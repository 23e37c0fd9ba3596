"""Writes random-weight models in many encodings, independently of the engine that will read them.

architecture.py  which tensors a model has, and their names
weights.py       the float master: one seed is one model, whatever the encoding
vocabulary.py    tokens and merges, made up or copied
gguf_blocks.py, k_quants.py, gguf_file.py         encoders and container of GGUF
bitsandbytes.py, safetensors_file.py              encoders and container of model directories
"""
