# AudioToText. `make` alone lists what there is.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
# The stamp's name is a checksum of what to install: nothing is checked or done again until a requirement changes.
STAMP := .venv/.installed-$(shell cat requirements/*.txt | cksum | cut -d' ' -f1)
# pytest processes; the suite starts real servers, so more than the cores does not help.
PROCESSES ?= 2
# Flags passed through by `local`, `test`, `bench` and `rehearse`.
ARGS ?=
# A folder in which `local` keeps its data from one start to the next.
STATE ?=
# Which deployment `deploy`, `smoke` and `destroy` mean, and whether `destroy` keeps its data.
STAGE ?= dev
DATA ?= keep

# $(call step,name,command): one line when it passes, the whole output when it does not.
step = printf '  %-26s' '$(1)'; if out=$$( { $(2); } 2>&1 ); then echo ok; else echo FAILED; printf '%s\n' "$$out"; exit 1; fi

# Tools that bring their own world are installed apart, and only by the targets that need them.
tool = .venv-tools/$(1)/.installed-$(shell cksum < requirements/tools/$(1).txt | cut -d' ' -f1)
SAM := $(call tool,sam)
CHECKOV := $(call tool,checkov)
PYANNOTE := $(call tool,test-pyannote)
BENCH := $(call tool,bench)
BENCH_SPEECH := $(call tool,bench-speech)
ACCURACY := .venv/.accuracy-$(shell cksum < requirements/accuracy.txt | cut -d' ' -f1)
export SAM_CLI_TELEMETRY := 0

.PHONY: help setup demo local test check format openapi test-pyannote soak rehearse fuzz storm bench bench-accuracy bench-intake bench-cold bench-speech bench-gpu bench-long bench-speakers bench-workers bench-fanout plots build check-deploy deploy smoke destroy upgrade clean

help: ## This list
	@printf '\n  AudioToText: speech to text in your own cloud.\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  Start with:  make demo\n\n'

setup: $(STAMP) ## Install everything into .venv (the other targets do it for you)
	@:

$(STAMP):
	@infra/setup.sh
	@rm -f .venv/.installed-*
	@touch $@

demo: setup ## A recording becomes a transcript before your eyes (AUDIO=file ENGINE=name MODEL=name)
	@$(PY) -m infra.demo $${AUDIO:+--audio "$$AUDIO"} $${ENGINE:+--engine "$$ENGINE"} $${MODEL:+--model "$$MODEL"}

local: setup ## The whole service on this machine until Ctrl-C (STATE=dir keeps its data, ARGS=--help for its flags)
	@$(PY) -m infra.local $(if $(STATE),--state "$(STATE)") $(ARGS)

check: setup ## Format, lint, types, floors, template, API description
	@$(call step,format,$(PY) -m ruff format --check .)
	@$(call step,lint,$(PY) -m ruff check .)
	@$(call step,types,$(PY) -m mypy)
	@$(call step,floors,.venv/bin/lint-imports)
	@$(call step,template.yaml,.venv/bin/cfn-lint template.yaml)
	@$(call step,no index addresses,! grep -nE '://|--?(extra-)?(index|find-links)|^ *-[if] ' requirements/*.txt requirements/tools/*.txt)
	@$(call step,docs/openapi.json,$(PY) -m infra.api_documents openapi | diff - docs/openapi.json || { echo "Run: make openapi"; false; })

test: setup ## Every test that needs no GPU and no network (ARGS="-k words" for some)
	@$(PY) -m pytest -n $(PROCESSES) $(ARGS)

format: setup ## Put the code into shape
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

build: setup $(SAM) ## Build what is deployed to Lambda (no docker, no account)
	@echo 'Staging for Lambda (python3.13, arm64)'
	@$(PY) -m infra.stage_lambda
	@$(call step,sam build,.venv-tools/sam/bin/sam build --region us-east-1)

check-deploy: setup build $(CHECKOV) ## What deployment needs: the build, sam's and checkov's opinion of the template
	@$(call step,sam validate,.venv-tools/sam/bin/sam validate --lint --region us-east-1)
	@$(call step,checkov,.venv-tools/checkov/bin/checkov --config-file .checkov.yaml -f template.yaml --skip-download)

deploy: setup ## Bring a stage up in your AWS account, or change it (STAGE=dev)
	@$(PY) -m infra.deploy check --stage $(STAGE)
	@$(MAKE) build
	@$(PY) -m infra.deploy deploy --stage $(STAGE)

smoke: setup ## Prove that a deployed stage works (STAGE=dev, AUDIOTOTEXT_API_KEY=...)
	@$(PY) -m infra.deploy smoke --stage $(STAGE) $(ARGS)

destroy: setup ## Take a stage down; DATA=delete takes its tables and recordings too (STAGE=dev)
	@$(PY) -m infra.deploy destroy --stage $(STAGE) --data $(DATA) $(ARGS)

$(SAM):
	@infra/setup_tool.sh sam
	@touch $@

$(CHECKOV):
	@infra/setup_tool.sh checkov
	@touch $@

$(BENCH_SPEECH):
	@infra/setup_tool.sh bench-speech with-dependencies
	@touch $@

$(BENCH):
	@infra/setup_tool.sh bench
	@touch $@

# torchaudio's compiled part wants CUDA's libraries even beside a torch without them; pyannote uses none of it.
$(PYANNOTE):
	@infra/setup_tool.sh test-pyannote with-dependencies
	@$(@D)/bin/python -c 'import torchaudio' 2>/dev/null || rm -f $(@D)/lib/python3*/site-packages/torchaudio/lib/*.so
	@touch $@

openapi: setup ## Write docs/openapi.json and the reference in docs/api.md from the code
	@$(PY) -m infra.api_documents openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json
	@$(PY) -m infra.api_documents reference > docs/api.md.new && mv docs/api.md.new docs/api.md

soak: setup ## 200,000 random steps over the ledger (seven minutes on two quiet cores), then `rehearse`
	@LEDGER_STEPS=200000 $(PY) -m pytest -q -s tests/property/test_ledger_machine.py
	@$(PY) -m tests.rehearsal $(ARGS)

rehearse: setup ## 500 jobs on the local stack while everything around them fails (ARGS="--jobs 50 --seed 1")
	@$(PY) -m tests.rehearsal $(ARGS)

fuzz: setup ## Thousands of generated requests against the local stack, held against the API description
	@$(PY) -m tests.fuzz $(ARGS)

storm: setup ## 500 webhooks to a receiver that fails in every way, with deaths at random points
	@STORM_EVENTS=500 $(PY) -m pytest -q -s tests/integration/test_webhook_storm.py

# Its own pytest, away from pyproject.toml: torch warns of itself.
test-pyannote: setup $(PYANNOTE) ## pyannote's true code path, on random weights made by the test (2 GB of torch, once)
	@.venv-tools/test-pyannote/bin/python -m pytest -q -c /dev/null --rootdir=. -p no:cacheprovider \
		--confcutdir=tests/pyannote tests/pyannote/speakers.py --disable-warnings $(ARGS)

bench: setup ## What the service adds to what the engines take
	@$(PY) -m tests.benchmarks.overhead $(ARGS)
	@$(PY) -m tests.benchmarks.aws_calls
	@$(PY) -m tests.benchmarks.submits
	@$(PY) -m tests.benchmarks.crash_points

bench-accuracy: setup $(ACCURACY) ## Wrong words and wrong speakers over a folder of recordings with references (AUDIO=DIR)
	@$(PY) -m tests.benchmarks.accuracy --audio "$(AUDIO)" $(ARGS)

$(ACCURACY): | setup
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements/accuracy.txt
	@touch $@

bench-cold: setup ## Cold starts and footprint of every function beside a bare one
	@$(PY) -m tests.benchmarks.cold_start $(ARGS)

bench-intake: setup ## Ways in: 1 GiB through the stack, 200 drops at once, every container probed, a longer fuzz
	@$(PY) -m tests.benchmarks.large_upload
	@$(PY) -m tests.benchmarks.probing_table
	@DROP_OBJECTS=200 $(PY) -m pytest -q tests/integration/test_drops.py -k many_at_once
	@FUZZ_EXAMPLES=5000 $(PY) -m pytest -q tests/unit/test_probing.py tests/unit/test_audio.py tests/integration/test_multipart.py -k 'damage or whatever'

bench-speech: setup $(BENCH_SPEECH) ## The whole pipeline beside faster-whisper, openai-whisper, whisper.cpp (ARGS="--size small")
	@$(PY) -m tests.benchmarks.speech $(ARGS)
	@$(PY) -m tests.benchmarks.speech_others $(ARGS)

bench-gpu: setup ## large-v3 and turbo on this machine's GPU, by batch size, beside bare faster-whisper
	@$(PY) -m tests.benchmarks.gpu $(ARGS)

bench-long: setup ## Ten hours of audio: peak memory and seconds of the machine without a GPU
	@$(PY) -m tests.benchmarks.ten_hours $(ARGS)

bench-speakers: setup $(ACCURACY) ## Errors and speed of the local speaker engine beside the bare library (AUDIO=DIR)
	@$(PY) -W ignore -m tests.benchmarks.speakers --audio "$(AUDIO)" $(ARGS)

bench-workers: setup ## One long recording by one worker process and by two: speed, and what it changes (AUDIO=DIR)
	@$(PY) -m tests.benchmarks.workers --audio "$(AUDIO)" $(ARGS)

plots: setup $(BENCH) ## Draw docs/images from the simulation, after a change of the planner or of prices
	@.venv-tools/bench/bin/python -m tests.benchmarks.fanout --plot docs/images/fan-out.svg >/dev/null

bench-fanout: setup ## Simulated wall time and cost over many GPUs (ARGS="--gpu H100")
	@$(PY) -m tests.benchmarks.fanout $(ARGS)

upgrade: setup ## Take the newest version of everything and pin it
	@infra/upgrade.sh

clean: ## Remove everything that was built or installed
	@rm -rf .venv .venv-tools .build .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
