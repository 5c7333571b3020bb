"""Run a checkpoint of ours through the official code of DART-Eval, Task 1, zero-shot: their
windows, shuffles, sums and metric.

  git clone https://github.com/kundajelab/DART-Eval
  pip install polars==0.20.17 pyfaidx pandas scipy h5py transformers ncls scikit-learn
  DART_EVAL=DART-Eval python -m experiments.official_dart --ckpt=out/ckpt.pt --fasta=hg38.fa \\
      --ccre=ENCFF420VPZ.bed --out=official

fasta: plain, not gzipped (an index is written beside it); ccre: plain BED. Writes the official
elements.tsv, scores.tsv and metrics.json into out. The official probe: embed(...) writes the
embeddings that their train_classifier reads; with C = n_embd it takes
CNNSlicedEmbeddingsClassifier(C, 32, 8). For the whole registry that is a terabyte: take some of the
elements.
"""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from config import configure, die
from dart.elements import CHROMS, WINDOW
from data import N
from model import base_nll
from runtime.checkpoint import load_model

ckpt = "out/ckpt.pt"  # the model
fasta = ""  # the genome, an unzipped FASTA
ccre = ""  # the elements, an unzipped BED
out = "official"  # the folder for what the official code writes
device = "cpu"  # cpu | cuda
# ---- end of settings

TASK = "dnalm_bench.task_1_paired_control"


def official_source():
    """The source folder of the clone that the environment variable DART_EVAL names."""
    return str(Path(os.environ["DART_EVAL"]).absolute() / "src")


def official(module, task=TASK):
    """A module of the official code's Task 1, or of another."""
    sys.path.insert(0, official_source())
    try:
        return import_module(f"{task}.{module}")
    finally:
        sys.path.pop(0)


def elements(bed, tsv):
    """The official generator: a BED to the table that their dataset reads, with the paper's window
    and no jitter.
    """
    module = f"{TASK}.dataset_generators.encode_ccre"
    words = [f"--ccre_bed={bed}", f"--output_file={tsv}", f"--input_size={WINDOW}"]
    command = [sys.executable, "-m", module, *words, "--max_jitter=0"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": official_source()})


def dataset(fasta, tsv, chroms):
    """The official pairs of the elements on these chromosomes (None: on all)."""
    return official("components").PairedControlDataset(str(fasta), str(tsv), chroms, 0)


def evaluator(model, data, batch_size=64, device="cpu"):
    """Their zero-shot evaluator around our model: .evaluate(folder), .tokenize(one_hot),
    .model_fwd(...) -> (B, 351) log-likelihoods.

    The start symbol goes in front; the sum leaves it out, and the first base too, which no model
    without one can score.
    """
    theirs = official("zero_shot.evaluators")

    class Ours(theirs.ZeroShotPairedControlEvaluator, theirs.CausalZeroShotScore):
        def __init__(self):
            self.model = model.to(device).eval()
            super().__init__(data, batch_size, 0, device)

        def tokenize(self, seqs):
            tokens = F.pad(seqs.argmax(2), (1, 0), value=N)
            return tokens, 2, 1 + seqs.shape[1], None

        @torch.no_grad()
        def model_fwd(self, tokens, attention_mask, targets):
            return F.pad(-base_nll(self.model, tokens[:, 1:]), (1, 0))

    return Ours()


def embed(model, data, path, batch_size=64, device="cpu"):
    """Their embedding extractor around our model: the last states at each base, (351, C) a sequence
    with the start symbol's, in HDF5.
    """
    theirs = official("supervised.embeddings")
    extractor = import_module("dnalm_bench.embeddings").EmbeddingExtractor

    class Ours(extractor, theirs.PairedControlEmbeddingExtractor):
        _idx_mode = "fixed"

        def __init__(self):
            super().__init__(batch_size, 0, device)

        def tokenize(self, seqs):
            return F.pad(seqs.argmax(2), (1, 0), value=N), None

        @torch.no_grad()
        def model_fwd(self, tokens):
            return model.states(tokens.to(device)).float()

        @staticmethod
        def _offsets_to_indices(offsets, seqs):
            return np.array([1, 1 + seqs.shape[1]])

    Ours().extract_embeddings(data, str(path))


def main(words=None):
    """Evaluate. words: of a command line, those that Python was started with by default."""
    configure(globals(), words)
    if not os.environ.get("DART_EVAL"):
        die(
            "DART_EVAL names no clone of the official code: "
            "DART_EVAL=folder python -m experiments.official_dart ..."
        )
    for file in (fasta, ccre):
        if not Path(file).is_file():
            die(f"no file {file!r}: --fasta and --ccre name the genome and the elements, unzipped")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    elements(ccre, folder / "elements.tsv")
    data = dataset(fasta, folder / "elements.tsv", CHROMS["test"])
    model, _ = load_model(ckpt, device)
    print(evaluator(model, data, device=device).evaluate(out, progress_bar=True))


if __name__ == "__main__":
    main()
