"""What the programs of `bench` share.

packhorse.py  Packhorse's command line: memory, speeds, divergence
program.py    llama.cpp, built for one instruction set
models.py     the models that both run
table.py      medians, ratios and the printed tables
"""
