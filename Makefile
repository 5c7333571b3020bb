PYTHON ?= python3
BIN = .venv/bin
OUT = out-demo

.PHONY: demo test clean

test: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/python -m pytest -n 2 --dist=worksteal

demo: .venv/installed
	$(BIN)/python -m data.toy
	$(BIN)/python prepare_hg38.py --fasta=data/toy/toy.fa.gz --out=data/toy
	$(BIN)/python train.py config/demo.py --out_dir=$(OUT) --init_from=scratch
	$(BIN)/python sample.py --ckpt=$(OUT)/ckpt.pt --num_samples=2 --max_new_tokens=500 --out=$(OUT)/samples.fa
	$(BIN)/python eval_dart.py --ckpt=$(OUT)/ckpt.pt --only=zero_shot --json=$(OUT)/dart.json
	$(BIN)/python figures/curve.py $(OUT) $(OUT)/curve.png
	$(BIN)/python figures/demo.py $(OUT)

.venv/installed: requirements.txt tests/requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: this needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt -r tests/requirements.txt
	touch $@

clean:
	rm -rf .venv $(OUT) data/toy/*.bin data/toy/*.json data/toy/*.gz data/toy/*.bed
