# make demo: from a bare clone to the zoo's MNIST network exported, checked on every runtime and shown at work.
# make test: from a bare clone to all checks and tests. Both make their own virtual environment.
# make gpu-check: on a machine with a GPU, what no other machine can check; with the Python that has torch for CUDA.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= auto
GPU_CHECK ?=
BIN := $(VENV)/bin
DEMO := build/pixel-mnist

.PHONY: demo test check nightly gpu-check clean

demo: $(VENV)/installed
	$(BIN)/drnn-export models/zoo/pixel-mnist/model.pt --output $(DEMO) --emission fused --emission unrolled
	$(BIN)/drnn-deploy demo $(DEMO)

test: check
	$(BIN)/pytest -n $(JOBS)

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

nightly: $(VENV)/installed
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -n $(JOBS)

gpu-check:
	PYTHONPATH="$(CURDIR):$(CURDIR)/export:$(CURDIR)/models:$(CURDIR)/runtimes$${PYTHONPATH:+:$$PYTHONPATH}" \
		$(PYTHON) -m benchmarks.gpu_check $(GPU_CHECK)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,rtx,audio,dev]'
	touch $@

clean:
	rm -rf $(VENV) build
