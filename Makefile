# Two commands for a fresh machine: `make demo` and `make test`. Both build .venv first.
# Needs python3 (3.10 or newer) with venv and pip, git, make; a C++17 compiler for the fast kernels.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The release that development and CI use. To spare a gigabyte of CUDA libraries where there is no
# GPU: make demo PIP_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu'
TORCH    ?= torch==2.13.0
PIP_ARGS ?=
# Test processes; each uses up to two threads.
WORKERS  ?= 2
# CMake, Ninja and what else the environment brings, before the system's own.
WITH_TOOLS := PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: demo test test-fast test-older-triton compat platforms wheel docs resources lint format hooks clean
.DEFAULT_GOAL := test

demo: $(VENV)/demo.stamp
	$(BIN)/ladnet-fast demo

test: $(VENV)/dev.stamp
	$(WITH_TOOLS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# What an edit should not break; leaves out builds, sanitizers and whole training runs. One kind of
# tests alone: .venv/bin/python -m pytest -m build, or emulator, aot, gpu.
test-fast: $(VENV)/dev.stamp
	$(WITH_TOOLS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not slow'

# The tests of operators, networks and data with other releases of torch, one environment after
# another: make compat COMPAT='2.9.1@python3.10 2.14.1'. Gigabytes of downloads, up to an hour.
compat:
	$(PYTHON) .ci/compat $(COMPAT)

# The wheel for Linux, built and tried in a Debian with an old C library; root and debootstrap.
wheel:
	.ci/wheel $(WHEEL_FOLDER)

# The wheels' other platforms, compiled as far as this machine can: pip install ziglang.
platforms: $(VENV)/dev.stamp
	PYTHON=$(BIN)/python $(WITH_TOOLS) .ci/platforms $(PLATFORMS)

# The site, in build/docs/index.html; a warning, such as a link that leads nowhere, is an error.
docs: $(VENV)/dev.stamp
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/docs

# An older Triton, in front of the installed one: what torch 2.11 brings. Its interpreter needs a numpy
# that still takes an array of one entry for a number.
OLDER ?= build/triton-3.6.0
$(OLDER): $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --no-deps --target $@ triton==$(@:build/triton-%=%) 'numpy<2.4'

# docs/gpu-resources.*, of the attention kernels that have changed, with both releases of Triton. No GPU.
resources: $(OLDER)
	$(BIN)/python -m benchmarks.resources triton --older $(OLDER)

# The kernels' tests under the interpreter of the older Triton.
test-older-triton: $(OLDER)
	PYTHONPATH=$(OLDER) TRITON_INTERPRET=1 $(BIN)/python -m pytest -n $(WORKERS) tests/kernels

lint: $(VENV)/dev.stamp
	$(WITH_TOOLS) pre-commit run --all-files --show-diff-on-failure

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs -r $(BIN)/clang-format -i

# Lint whatever is committed from now on, before it is.
hooks: $(VENV)/dev.stamp
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) build dist *.egg-info ladnet_fast/*.so

# With the newest pip: the one that comes with Python may take twice as long.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "python3 is too old: 3.10 or newer is needed; name another with PYTHON=...")'
	$(PYTHON) -m venv --upgrade-deps $(VENV)

# An install is repeated when what it depends on has changed.
$(VENV)/demo.stamp: $(BIN)/python pyproject.toml setup.py CMakeLists.txt $(wildcard csrc/*/*)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) '$(TORCH)' -e '.[tools,video]'
	touch $@

$(VENV)/dev.stamp: $(BIN)/python pyproject.toml setup.py CMakeLists.txt $(wildcard csrc/*/*)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) '$(TORCH)' -e '.[dev]'
	touch $@ $(VENV)/demo.stamp
