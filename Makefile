# make demo: from a bare clone to the zoo's MNIST network exported, checked on every runtime and shown at work.
# make test: from a bare clone to all checks and tests. Both make their own virtual environment.
# make quick: of the tests the part that a version of Python can break; in another environment: VENV=.venv-3.13 PYTHON=python3.13
# make nightly: the same properties over many more random networks, and more combinations, in random order.
# make cross: networks in C, compiled for other systems; their self-tests run under qemu-user where that is installed.
# make bench: the standard set of speed measurements, on a machine that does nothing else; see python -m benchmarks.speed --help.
# make docs: the documentation site, in build/site, built strictly and read by Chromium where that is installed.
# make dist: the source distribution and the wheel, in build/dist, checked.
# make gpu-check: on a machine with a GPU, what no other machine can check; with the Python that has torch for CUDA.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= auto
INSTALL ?= $(BIN)/python -m pip install
BENCH ?=
GPU_CHECK ?=
BIN := $(VENV)/bin
# the tests of a file share a worker, which makes what they need once; the longest files begin (tests/conftest.py)
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
DEMO := build/pixel-mnist

QUICK := tests/models tests/export/emitter/test_emit.py tests/export/lint/test_node_rules.py tests/runtimes/reference/test_loop.py \
	tests/runtimes/bundle/test_bundle.py tests/runtimes/bundle/test_vouched_graph.py \
	tests/runtimes/bundle/test_manifest.py tests/runtimes/bundle/test_golden.py \
	tests/runtimes/streaming/test_stream.py tests/runtimes/streaming/test_going_on.py \
	tests/drnn_deploy/cli/test_cli.py tests/drnn_deploy/cli/test_start_up.py tests/drnn_deploy/cli/test_evaluate.py \
	tests/drnn_deploy/cli/test_bad_input.py tests/drnn_deploy/cli/test_bad_contents.py tests/drnn_deploy/exporter/test_pipeline.py \
	tests/drnn_deploy/exporter/test_output_folder.py tests/drnn_deploy/exporter/test_unmet_requests.py \
	tests/drnn_deploy/exporter/test_verdict.py tests/drnn_deploy/parity/test_check.py \
	tests/drnn_deploy/training/test_recipe.py

.PHONY: demo test quick check nightly cross bench docs dist gpu-check clean

demo: $(VENV)/installed
	$(BIN)/drnn-export models/zoo/pixel-mnist/model.pt --output $(DEMO) --style operator --style blocked
	$(BIN)/drnn-deploy demo $(DEMO)

test: check
	$(PYTEST)

quick: $(VENV)/installed
	$(PYTEST) $(QUICK)

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

nightly: $(VENV)/installed
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -p randomly

cross: $(VENV)/installed
	$(INSTALL) --quiet --constraint constraints.txt --editable '.[native]'
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -rs tests/runtimes/native/test_cross.py

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.speed $(BENCH)

docs: $(VENV)/installed
	$(INSTALL) --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	DRNN_SITE=build/site $(BIN)/python -m pytest -q tests/site
	@echo "The site: build/site/index.html"

dist: $(VENV)/installed
	$(INSTALL) --quiet --constraint constraints.txt --editable '.[release]'
	rm -rf build/dist
	$(BIN)/python -m build --no-isolation --outdir build/dist
	$(BIN)/twine check --strict build/dist/*
	DRNN_DIST=build/dist $(BIN)/python -m pytest -q tests/test_dist.py

gpu-check:
	PYTHONPATH="$(CURDIR):$(CURDIR)/export:$(CURDIR)/models:$(CURDIR)/runtimes$${PYTHONPATH:+:$$PYTHONPATH}" \
		$(PYTHON) -m benchmarks.gpu.check $(GPU_CHECK)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(INSTALL) --quiet --constraint constraints.txt --editable '.[train,rtx,audio,dev]'
	touch $@

clean:
	rm -rf $(VENV) build
