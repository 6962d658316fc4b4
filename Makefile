# The front door for people: every target sets up what it needs on a fresh Debian 12 with Python 3.11.
PYTHON ?= python3.11
JOBS ?= 3
VENV := .venv
RUN := $(VENV)/bin
DEBIAN := libx11-6 libxi6 libxkbcommon0 libsm6 libice6 libgl1 libxxf86vm1 libxfixes3 libxrender1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_OFFLINE := 1

.PHONY: help demo test test-rest test-training check coverage docs window fresh addon proto verify bench train-tiny train-tiny-debug test-bpy fuzz-media clean

help:  ## Print this menu
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/installed  ## Generate, import, render and regenerate one shot in headless Blender; see demo/
	$(RUN)/python demo.py $(if $(PROMPT),--prompt "$(PROMPT)") \
	  $(if $(BACKGROUND),--background "$(BACKGROUND)") \
	  $(if $(FOREGROUND_1),--foreground-1 "$(FOREGROUND_1)") \
	  $(if $(FOREGROUND_2),--foreground-2 "$(FOREGROUND_2)") \
	  $(if $(REPLACEMENT),--replacement "$(REPLACEMENT)") $(if $(SEED),--seed $(SEED))

# Three parts at a time, the longest first: they wait for processes now and then, and on two cores the
# third fills that; fewer by JOBS=1. Each part is printed once it has ended, and a part that fails
# stops no other.
test: $(VENV)/installed .venv-bpy-5.0/installed build/wheels/fetched  ## Run every check and test (what CI runs)
	@echo "four parts, $(JOBS) at a time; each is printed when it has ended, after some minutes"
	@$(MAKE) --no-print-directory -j$(JOBS) -k --output-sync=target test-rest test-training test-bpy check

test-rest: $(VENV)/installed  ## Run the tests of everything but training and Blender
	$(RUN)/python -m pytest -q --ignore tests/training --ignore tests/tools --ignore tests/addon/blender

test-training: $(VENV)/installed  ## Run the tests of training and tools
	$(RUN)/python -m pytest -q tests/training tests/tools

check: $(VENV)/installed  ## Lint, format, types, import contracts, wire
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/buf lint
	$(RUN)/buf breaking --against proto/released.binpb

# Each bpy in a process of its own, as users have it: never beside PyTorch and its libraries.
test-bpy: .venv-bpy-5.0/installed build/wheels/fetched  ## Run the add-on's tests in two versions of Blender
	$(RUN)/python tests/addon/run_matrix.py $(RUN)/python .venv-bpy-5.0/bin/python

COVERED := tests/addon/core tests/client tests/domain tests/wire tests/backend tests/attack tests/words \
  tests/model/test_alpha.py
coverage: $(VENV)/installed  ## Measure branches of core, client, wire, alpha and the queue; all are tested or excused
	rm -f .coverage*
	$(RUN)/python -m coverage run -m pytest -q $(COVERED)
	$(RUN)/python -m coverage combine -q
	$(RUN)/python -m coverage report

# Strict: a link or an anchor that leads nowhere ends it.
docs: $(VENV)/installed .venv-docs/installed  ## Build the site of docs/ into build/site; `python -m http.server -d build/site` shows it
	$(RUN)/python tools/reference.py
	.venv-docs/bin/zensical build --strict --clean

window: $(VENV)/installed  ## Walk through the add-on in a real window of the newest Blender (as root; 2 GB of disk)
	PYTHON=$(CURDIR)/$(RUN)/python tools/window.sh

fresh:  ## Run the README's two commands on a minimal Debian 12 made for it (as root; 8 GB of disk)
	tools/fresh.sh

addon: build/wheels/fetched  ## Build dist/layert2v-*.zip and validate it with Blender's own tool
	$(RUN)/python build_addon.py

proto:  ## Generate the stubs again after a change of the protos
	proto/generate.sh

verify: $(VENV)/installed  ## Check the model against ground truth from the authors' modules
	$(RUN)/python -m layert2v_model.released verify tests/data/*.safetensors

bench: $(VENV)/installed  ## Measure speed and memory against the plain model and the release (on quiet cores)
	$(RUN)/python -m benchmarks $(BENCH)

fuzz-media: $(VENV)/installed  ## Read damaged movies, pictures and texts for ten minutes; only refusals may come out
	PYTHONPATH=tests $(RUN)/python tools/fuzz_media.py --minutes 10

train-tiny: cache/assets/manifest.json  ## Train the shipped model from nothing into runs/tiny, in batches for two cores (hours; resumes)
	$(RUN)/layert2v-train all --recipe tiny --assets cache/assets --out runs/tiny

train-tiny-debug: cache/assets/manifest.json  ## Run all stages for a few steps into runs/debug, in minutes; export, serve, one shot
	$(RUN)/layert2v-train all --recipe debug --assets cache/assets --out runs/debug
	$(RUN)/python tools/serve_once.py runs/debug/model --out runs/debug/take

cache/assets/manifest.json: | $(VENV)/installed
	command -v npm >/dev/null || tools/debian_packages.sh npm
	$(RUN)/layert2v-data assets cache/assets

clean:  ## Remove what the other targets made, but not trained weights
	rm -rf $(VENV) .venv-bpy-* .venv-docs .venv-proto .cache build dist demo

$(VENV)/installed: pyproject.toml constraints.txt tools/debian_packages.sh
	tools/debian_packages.sh $(DEBIAN)
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install -q 'pip>=25.1'
	$(RUN)/pip install -q -c constraints.txt -e '.[backend,training]' --group dev
	touch $@

.venv-bpy-5.0/installed: $(VENV)/installed tests/addon/requirements.txt
	$(PYTHON) -m venv .venv-bpy-5.0
	.venv-bpy-5.0/bin/pip install -q bpy==5.0.1 -r tests/addon/requirements.txt
	touch $@

.venv-docs/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install -q 'pip>=25.1'
	.venv-docs/bin/pip install -q -c constraints.txt --group docs
	touch $@

# Tests reach no network, so what the zip is built of is here before them.
build/wheels/fetched: build_addon.py | $(VENV)/installed
	$(RUN)/python build_addon.py --fetch
	touch $@
