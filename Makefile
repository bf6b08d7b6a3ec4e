# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
BIN    := .venv/bin
DEMO   := demo

.PHONY: demo test check clean

# uv installs in parallel what pip would install one by one; it brings pip too, in a tenth of the
# time that `venv` takes for it. One on the PATH is taken, or the one that an earlier checkout kept;
# else pip fetches it, which takes seconds, as it looks at all of uv's thousands of files. Where
# Python has no pip of its own, `ensurepip` makes it.
KEPT_UV := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/gopro_tools/uv
HAS_KEPT_UV := $(shell "$(KEPT_UV)" --version 2>/dev/null)
UV  := $(if $(shell uv --version 2>/dev/null),uv,$(if $(HAS_KEPT_UV),"$(KEPT_UV)",$(BIN)/uv))
PIP := install --quiet --disable-pip-version-check uv
# Asking the index about every package takes seconds, and nobody has to be asked where uv's cache
# holds all of them.
install = export VIRTUAL_ENV=.venv; $(UV) pip install --quiet --offline $(1) 2>/dev/null || \
	$(UV) pip install --quiet $(1)

.venv/base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	command -v $(UV) >/dev/null || $(PYTHON) -m pip --python $(BIN)/python $(PIP) || \
		{ $(BIN)/python -m ensurepip && $(BIN)/python -m pip $(PIP); }
	{ test ! -x $(BIN)/uv || { mkdir -p "$(dir $(KEPT_UV))" && cp $(BIN)/uv "$(KEPT_UV).$$$$" && \
		mv "$(KEPT_UV).$$$$" "$(KEPT_UV)"; }; } 2>/dev/null || true
	$(call install,pip --editable .)
	touch $@

.venv/all: .venv/base
	$(call install,--editable '.[all]')
	touch $@

# The test pairs are deblurred and scored where a network ships with the package. Clips are about as
# small as the images that it was made for: deblurring is most of the work.
NETWORK := $(wildcard gopro_tools/weights/*.onnx)

# Threads of numpy's that multiply nothing here cost each command the time to start them.
demo: export OPENBLAS_NUM_THREADS = 1
demo: .venv/base
	rm -rf $(DEMO)
	# Meanwhile, what is needed next is compiled, where this machine has not done so yet.
	$(BIN)/python -m gopro_tools.loops & \
	$(BIN)/python -m gopro_tools.scenes --out $(DEMO)/videos --clips 2 --seconds 0.15 --size 216x384; \
	status=$$?; wait; exit $$status
	$(BIN)/python -m gopro_tools.synthesize $(DEMO)/videos --out $(DEMO)/dataset \
		--test-fraction 0.5 --measure-motion
ifneq ($(NETWORK),)
	$(BIN)/python -m gopro_tools.deblur $(DEMO)/dataset --out $(DEMO)/deblurred
	$(BIN)/python -m gopro_tools.evaluate --dataset $(DEMO)/dataset --protocol nah2017 \
		--restored deblurred=$(DEMO)/deblurred --out $(DEMO)/scores
endif
	$(BIN)/python -m gopro_tools.report $(if $(NETWORK),$(DEMO)/scores) $(DEMO)/dataset \
		--out $(DEMO)/page --title Demo
	@echo "Open $(DEMO)/page/index.html; $(DEMO)/dataset/README.md is the dataset's card."

test: .venv/all
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmarks.table1.publish --check

clean:
	rm -rf .venv $(DEMO)
