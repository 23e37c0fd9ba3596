# What a newcomer types. Every target sets up what it needs: `make run` on a bare Debian 12 is enough.
.DEFAULT_GOAL := help
.PHONY: help setup lint-setup configure build run test check-sanitize check-threads soak check-all fuzz fuzz-build fuzz-replay lint format matrix bench-peers bench-formats bench-format-costs bench-serve test-clients wheel install clean
MAKEFLAGS += --no-print-directory

JOBS ?= $(shell nproc)
PACKHORSE_SHARED ?= $(abspath ../shared)
export PACKHORSE_SHARED
CONFIGURE = cmake -G Ninja -S . -DPACKHORSE_WERROR=ON -DPython_EXECUTABLE=$(CURDIR)/.venv/bin/python
# The folder build-fuzz: clang's libFuzzer, with the checks of make check-sanitize and for floats that fit no integer.
CONFIGURE_FUZZ = cmake -G Ninja -S . -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14 -DPACKHORSE_WERROR=ON -DPACKHORSE_PYTHON=OFF \
  -DPACKHORSE_TESTS=OFF -DPACKHORSE_FUZZ=ON -DPACKHORSE_SANITIZE=fuzzer-no-link,address,undefined,float-cast-overflow
FUZZ_SECONDS ?= 900
MINUTES ?= 10
PROMPT ?= What is the capital of Japan?
PREFIX ?= /usr/local

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install missing packages and make .venv
	@scripts/setup

lint-setup:
	@scripts/setup lint

build/build.ninja: | setup
	@$(CONFIGURE) -B build --log-level=WARNING

build: setup build/build.ninja  ## the command line in build/packhorse; .venv/bin/python imports packhorse
	@cmake --build build --parallel $(JOBS) --target packhorse python_stub

run: setup build/build.ninja  ## build the command line and ask the demo model a question
	@cmake --build build --parallel $(JOBS) --target packhorse
	build/packhorse run demo -p "$(PROMPT)" --temperature 0

test: setup build/build.ninja  ## build everything and run every test
	@cmake --build build --parallel $(JOBS)
	@scripts/check_isa_objects build
	@scripts/run_tests build

test-clients: build  ## lm-eval, guidellm, Chromium and the load generator against the server
	@cmake --build build --parallel $(JOBS) --target load
	@scripts/test_clients build

matrix:  ## write README's table of formats from the results of the last make test
	@.venv/bin/python scripts/format_matrix build

build-asan/build.ninja: | setup
	@$(CONFIGURE) -B build-asan --log-level=WARNING -DPACKHORSE_SANITIZE=address,undefined -DPACKHORSE_PYTHON=OFF

check-sanitize: setup build-asan/build.ninja  ## the tests and a server under load, with AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake --build build-asan --parallel $(JOBS)
	@scripts/run_tests build-asan

soak: setup build-asan/build.ninja  ## a server under load for MINUTES, with AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake --build build-asan --parallel $(JOBS) --target packhorse
	@.venv/bin/python scripts/check_server build-asan --minutes $(MINUTES)

# The repository's own checkpoints are enough here, and of the tests those whose code knows threads. GCC warns of Asio's fences.
check-threads: setup  ## tests of engine, kernels and thread pool and a server under load, with ThreadSanitizer
	@[ -f build-tsan/build.ninja ] || $(CONFIGURE) -B build-tsan --log-level=WARNING -DPACKHORSE_SANITIZE=thread -DCMAKE_CXX_FLAGS=-Wno-tsan -DPACKHORSE_PYTHON=OFF -DPACKHORSE_TEST_AREAS="base;kernels;engine"
	@cmake --build build-tsan --parallel $(JOBS) --target packhorse test_base test_kernels test_engine
	@PACKHORSE_SHARED=$(CURDIR)/build-tsan PACKHORSE_CHECKPOINTS=$(CURDIR)/build-tsan scripts/run_tests build-tsan

fuzz-build:
	@scripts/setup fuzz
	@[ -f build-fuzz/build.ninja ] || $(CONFIGURE_FUZZ) -B build-fuzz --log-level=WARNING
	@cmake --build build-fuzz --parallel $(JOBS) --target tests/fuzz/all

fuzz: fuzz-build  ## run every fuzz target for FUZZ_SECONDS
	@scripts/fuzz build-fuzz/tests/fuzz $(FUZZ_SECONDS)

fuzz-replay: fuzz-build  ## feed the fuzz targets their corpora once
	@scripts/fuzz build-fuzz/tests/fuzz 0

check-all: test lint check-sanitize check-threads fuzz  ## all of the above and what continuous integration leaves out
	@scripts/check_wheel

lint: lint-setup build/build.ninja  ## formatting, layers, clang-tidy, words and sizes
	@scripts/lint build

format: lint-setup  ## let clang-format rewrite the sources
	@git ls-files -co --exclude-standard '*.h' '*.cpp' | xargs -r clang-format-14 -i

bench-peers: build  ## measure against llama.cpp, both limited to ISA (default: the best of this CPU)
	@.venv/bin/python bench/peers --isa "$(ISA)" --jobs $(JOBS)

bench-formats: build  ## memory and speed of every checkpoint format, or of FAMILIES=a,b
	@.venv/bin/python bench/formats $(if $(FAMILIES),--families "$(FAMILIES)")

bench-format-costs: build  ## memory, speed and KL of every method in flight on the demo; writes docs/formats
	@.venv/bin/python bench/format_costs --jobs $(JOBS) --json build/format_costs.json --write

bench-serve: build  ## the server against llama-server, or FLAGS="--soak 10" and so on (bench/serve --help)
	@cmake --build build --parallel $(JOBS) --target load
	@.venv/bin/python bench/serve --jobs $(JOBS) $(FLAGS)

wheel: setup  ## write a Python wheel for other machines into dist
	@scripts/wheel

install: setup build/build.ninja  ## install command line and C++ library into PREFIX
	@cmake --build build --parallel $(JOBS) --target packhorse libpackhorse
	@cmake --install build --prefix "$(PREFIX)"

clean:  ## remove everything that was built (.venv and build-peers stay)
	rm -rf build build-asan build-tsan build-fuzz dist
