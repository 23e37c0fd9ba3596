# What a newcomer types. Every target sets up what it needs: `make run` on a bare Debian 12 is enough.
.DEFAULT_GOAL := help
.PHONY: help setup lint-setup configure build run test check-sanitize check-threads check-all lint format bench-peers clean
MAKEFLAGS += --no-print-directory

JOBS ?= $(shell nproc)
PACKHORSE_SHARED ?= $(abspath ../shared)
export PACKHORSE_SHARED
CONFIGURE = cmake -G Ninja -S . -DPACKHORSE_WERROR=ON -DPython_EXECUTABLE=$(CURDIR)/.venv/bin/python
PROMPT ?= What is the capital of Japan?

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup:  ## install missing packages and make .venv
	@scripts/setup

lint-setup:
	@scripts/setup lint

build/build.ninja: | setup
	@$(CONFIGURE) -B build --log-level=WARNING

build: setup build/build.ninja  ## the command line in build/packhorse; .venv/bin/python imports packhorse
	@cmake --build build --parallel $(JOBS) --target packhorse _packhorse

run: setup build/build.ninja  ## build the command line and ask the demo model a question
	@cmake --build build --parallel $(JOBS) --target packhorse
	build/packhorse run demo -p "$(PROMPT)" --temperature 0

test: setup build/build.ninja  ## build everything and run every test
	@cmake --build build --parallel $(JOBS)
	@scripts/check_isa_objects build
	@scripts/run_tests build

check-sanitize: setup  ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@[ -f build-asan/build.ninja ] || $(CONFIGURE) -B build-asan --log-level=WARNING -DPACKHORSE_SANITIZE=address,undefined -DPACKHORSE_PYTHON=OFF
	@cmake --build build-asan --parallel $(JOBS)
	@scripts/run_tests build-asan

check-threads: setup  ## the tests under ThreadSanitizer
	@[ -f build-tsan/build.ninja ] || $(CONFIGURE) -B build-tsan --log-level=WARNING -DPACKHORSE_SANITIZE=thread -DPACKHORSE_PYTHON=OFF
	@cmake --build build-tsan --parallel $(JOBS)
	@scripts/run_tests build-tsan

check-all: test lint check-sanitize check-threads  ## all of the above and what continuous integration leaves out
	@scripts/check_wheel

lint: lint-setup build/build.ninja  ## formatting, layers, clang-tidy, words and sizes
	@scripts/lint build

format: lint-setup  ## let clang-format rewrite the sources
	@git ls-files -co --exclude-standard '*.h' '*.cpp' | xargs -r clang-format-14 -i

bench-peers: setup  ## build llama.cpp in build-peers to measure against
	@scripts/bench-peers

clean:  ## remove everything that was built (.venv and build-peers stay)
	rm -rf build build-asan build-tsan dist
