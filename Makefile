# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
BIN    := .venv/bin
DEMO   := demo

.PHONY: demo test check clean

# uv installs in parallel what pip would install one by one.
.venv/base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --editable .
	touch $@

.venv/all: .venv/base
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --editable '.[all]'
	touch $@

# The test pairs are deblurred and scored where a network ships with the package.
NETWORK := $(wildcard gopro_tools/weights/*.onnx)

demo: .venv/base
	rm -rf $(DEMO)
	# Rendering takes one core: meanwhile the other one compiles what is needed next.
	$(BIN)/python -m gopro_tools.loops & \
	$(BIN)/python -m gopro_tools.scenes --out $(DEMO)/videos --clips 2 --seconds 0.2 --size 360x640; \
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
