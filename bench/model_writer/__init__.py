"""Writes random-weight models in many encodings, independently of the engine that will read them.

architecture.py  which tensors a model has, and their names
weights.py       the float master: one seed is one model, in every encoding that quantizes it
random_codes.py  random bits for layouts that are there to measure memory and speed
vocabulary.py    tokens and merges, made up or copied
gguf_blocks.py, k_quants.py, gguf_file.py    encoders and container of GGUF
hf_encoders.py, safetensors_file.py          encoders and container of model directories
bitsandbytes.py, word_layouts.py, row_layouts.py, hf_configs.py    their layouts and settings
"""
