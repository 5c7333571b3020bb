"""Our motif footprints, Task 2, against the official code of DART-Eval:

DART_EVAL=clone python -m pytest tests/test_official_footprints.py
"""

import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dart.footprints import (
    judge_motifs,
    log_likelihoods,
    make_sequences,
    on_both_strands,
    read_backgrounds,
)
from dart.motifs import consensus, read_motifs
from dart.zero_shot import Candidate
from data import N, decode, encode
from experiments.jaspar import HEAD, meme_text
from experiments.official_dart import official_source
from model import GPT, GPTConfig, base_nll

pytestmark = pytest.mark.skipif(
    not os.environ.get("DART_EVAL"),
    reason="DART_EVAL names no clone of github.com/kundajelab/DART-Eval",
)
PACKAGES = ("polars", "pyfaidx", "pandas", "scipy", "matplotlib", "transformers")
TASK = "dnalm_bench.task_2_5_single"
MAKE = f"{TASK}.dataset_generators.transcription_factor_binding.motif_footprinting_dataset"
JUDGE = f"{TASK}.experiments.task_2_transcription_factor_binding.footprint_eval_likelihoods"
MOTIFS = 12
BACKGROUNDS = 30  # so that scipy's test takes the normal approximation, from 51 pairs on


def run_official(module, **files):
    """A script of the official code, with its files as --key=value."""
    words = [f"--{key}={value}" for key, value in files.items()]
    environment = {**os.environ}
    paths = [official_source(), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    subprocess.run([sys.executable, "-m", module, *words], check=True, env=environment)


def official_scores(model, table, path):
    """Their evaluator of a causal model around ours: a log-likelihood for each row of the table."""
    sys.path.insert(0, official_source())
    try:
        evaluators = import_module(f"{TASK}.evaluators")
        dataset = import_module(f"{TASK}.components").FootprintingDataset(str(table), 0)
    finally:
        sys.path.pop(0)

    class Ours(evaluators.LikelihoodEvaluator, evaluators.CausalZeroShotScore):
        start_token = None
        end_token = None

        def tokenize(self, seqs):
            tokens = F.pad(seqs.argmax(2), (1, 0), value=N)
            n = len(tokens)
            return tokens, torch.full((n,), 2), torch.full((n,), tokens.shape[1]), None

        @torch.no_grad()
        def model_fwd(self, tokens_in, attention_mask, tokens_out):
            return F.pad(-base_nll(self.model, tokens_out[:, 1:]), (1, 0))

    Ours(None, model, 64, 0, "cpu").evaluate(dataset, str(path), progress_bar=False)
    return np.loadtxt(path)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(our motifs, backgrounds, model, {name of a sequence: its letters}, {name: its score}, the
    official table of results as {ID: (accuracy, P-value, accuracy against the background)}).
    """
    for package in PACKAGES:
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("official")
    rng = np.random.default_rng(7)
    text = HEAD
    for i in range(MOTIFS):
        text += meme_text(f"M{i}.1 name{i}", rng.dirichlet([0.3] * 4, rng.integers(4, 25)))
    (folder / "a.meme").write_text(text)
    rows = rng.choice(list("ACGT"), (BACKGROUNDS, 350))
    rows[3, 20:30] = "N"
    (folder / "raw.txt").write_text("".join("".join(row) + "\n" for row in rows))
    run_official(
        MAKE,
        input_seqs=folder / "raw.txt",
        output_file=folder / "a.tsv",
        meme_file=folder / "a.meme",
    )
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=352, n_layer=2, n_head=2, n_embd=32))
    for p in model.parameters():
        nn.init.normal_(p, std=0.2)
    model.eval()
    scores = official_scores(model, folder / "a.tsv", folder / "scores.tsv")
    run_official(
        JUDGE,
        input_seqs=folder / "a.tsv",
        likelihoods=folder / "scores.tsv",
        output_file=folder / "results.tsv",
    )
    letters = dict(line.split("\t") for line in (folder / "a.tsv").read_text().splitlines())
    table = {}
    for line in (folder / "results.tsv").read_text().splitlines()[1:]:
        name, *values = line.split("\t")
        table[name] = tuple(map(float, values))
    motifs = read_motifs(folder / "a.meme")
    backgrounds = read_backgrounds(folder / "raw.txt")
    return motifs, backgrounds, model, letters, dict(zip(letters, scores)), table


def test_the_sequences_are_bit_identical(both):
    motifs, backgrounds, _, letters, _, _ = both
    assert len(letters) == BACKGROUNDS * (2 + 4 * MOTIFS)
    for motif, sequences in zip(motifs, make_sequences(motifs, backgrounds), strict=True):
        name = motif.name.split()[0]
        strands = on_both_strands(sequences)
        for row in range(BACKGROUNDS):
            for k, kind in enumerate(("true", "shuffled")):
                theirs = letters[f"{row}_{name}_forward_{kind}"]
                assert decode(sequences[k, row]) == theirs
                for s, strand in enumerate(("forward", "reverse")):
                    theirs = encode(letters[f"{row}_{name}_{strand}_{kind}"])
                    assert (strands[s, k, row] == np.where(theirs == N, 0, theirs)).all()
        assert decode(consensus(motif)) in letters[f"0_{name}_forward_true"]


def test_scores_and_results_agree(both):
    motifs, backgrounds, model, _, scores, table = both
    candidate = Candidate("ours", model)
    raw = log_likelihoods(candidate, on_both_strands(backgrounds), 16, "raw")
    worst = 0
    for row in range(BACKGROUNDS):
        for s, strand in enumerate(("forward", "reverse")):
            worst = max(worst, abs(scores[f"{row}_raw_{strand}"] - raw[s, row]))
    differences = []
    for motif, sequences in zip(motifs, make_sequences(motifs, backgrounds)):
        name = motif.name.split()[0]
        ours = log_likelihoods(candidate, on_both_strands(sequences), 64, name)
        for row in range(BACKGROUNDS):
            for s, strand in enumerate(("forward", "reverse")):
                for k, kind in enumerate(("true", "shuffled")):
                    theirs = scores[f"{row}_{name}_{strand}_{kind}"]
                    worst = max(worst, abs(theirs - ours[s, k, row]))
        differences.append(ours[:, 0] - ours[:, 1])
    print(f"largest difference of a score: {worst:.2g} nats, {worst / 349:.2g} a base")
    assert worst < 349e-5
    results = judge_motifs(candidate, motifs, backgrounds, 50)
    assert list(table) == [motif.name.split()[0] for motif in motifs]
    pairs = 2 * BACKGROUNDS
    for result, difference, (accuracy, p, against) in zip(results, differences, table.values()):
        close = (abs(difference) < 0.005).sum()
        assert abs(result["accuracy"] - accuracy) * pairs <= close + 1e-6
        assert result["p"] == pytest.approx(p, rel=0.02)
        assert abs(result["against_background"] - against) * pairs <= 1 + 1e-6
    accuracies = [result["accuracy"] for result in results]
    theirs = [values[0] for values in table.values()]
    print("accuracies, ours and theirs:", list(zip(accuracies, theirs)))
    print(
        "P-values:", [(result["p"], values[1]) for result, values in zip(results, table.values())]
    )
    assert 0.2 < np.mean(accuracies) < 0.8
