"""What `bench/serve` is made of.

servers.py  Packhorse's server and llama.cpp's, as processes
load.py     the load generator
compare.py  both servers under the same load
modes.py    Packhorse's server alone: soak, queue, long prompts, start, share of HTTP
"""
