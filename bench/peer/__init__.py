"""What `bench/peers` measures Packhorse against, and on what.

program.py  llama.cpp, built for one instruction set
models.py   the models that both run
table.py    medians, ratios and the printed table
"""
