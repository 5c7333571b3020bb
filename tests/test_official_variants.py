"""Our windows, scores and metrics of Task 5 against the official code of DART-Eval:

DART_EVAL=clone python -m pytest tests/test_official_variants.py
"""

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dart.variants import (
    KINDS,
    WINDOW,
    check_reference,
    make_windows,
    read_variants,
    score_variants,
    variant_metrics,
)
from dart.zero_shot import Candidate
from data import Genome, N
from experiments.official_dart import official
from model import GPT, GPTConfig
from tests.conftest import write_genome
from tests.test_eval_dart import chromosome

pytestmark = pytest.mark.skipif(
    not os.environ.get("DART_EVAL"),
    reason="DART_EVAL names no clone of github.com/kundajelab/DART-Eval",
)
PACKAGES = (
    "polars",
    "pyfaidx",
    "pandas",
    "scipy",
    "sklearn",
    "transformers",
    "matplotlib",
    "seaborn",
)
TASK = "dnalm_bench.task_2_5_single"
FILES = {"African caQTLs": "Afr.CaQTLS.tsv", "Yoruban dsQTLs": "yoruban.dsqtls.benchmarking.tsv"}
N_ROWS = 90


def tsv(rng, letters, kind):
    """A made-up file of this kind: the first allele is the genome's in some rows, the second in
    others, neither in the last; some rows are not used, and at one the window holds N.
    """
    african = kind.assembly == "hg38"
    lines = ["chr_hg38\tpos_hg38\tallele1\tallele2\tIsUsed\tin_peaks\tlabel\tbeta\tpval\n"]
    if not african:
        lines = [
            "var.chrom\tvar.pos\tvar.allele1\tvar.allele2\tvar.rsid\tvar.label\tvar.isused\t"
            "obs.estimate\n"
        ]
    places = [1500 + 71 * i for i in range(N_ROWS - 1)] + [len(letters) - 300]
    for i, pos in enumerate(places):
        here = letters[pos].upper()
        others = [base for base in "ACGT" if base != here]
        alleles = [here if here in "ACGT" else others[2], others[0]]
        if i % 2:
            alleles.reverse()
        if i == N_ROWS - 2:
            alleles = others[:2]
        place = f"chr5\t{pos + 1}\t{alleles[0]}\t{alleles[1]}"
        effect = round(rng.normal(), 2)
        used = i % 10 != 3
        if african:
            row = f"{place}\t{used}\t{i % 10 != 4}\t{i % 3 == 0}\t{effect}\t0.1\n"
        else:
            row = f"{place}\trs{i}\t{(1, -1, -1)[i % 3]}\t{used}\t{effect}\n"
        lines.append(row)
    return "".join(lines)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(a folder with a.fa and both TSVs, our genome, our model)."""
    for package in PACKAGES:
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("official")
    rng = np.random.default_rng(3)
    letters = chromosome(rng, 9000)
    genome = Genome(write_genome(folder / "genome", {"test": {"chr5": letters}}))
    (folder / "a.fa").write_text(f">chr5\n{letters}\n")
    inputs = folder / "task_5_variant_effect_prediction" / "input_data"
    inputs.mkdir(parents=True)
    for kind in KINDS:
        (inputs / FILES[kind.name]).write_text(tsv(rng, letters, kind))
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=WINDOW, n_layer=1, n_head=2, n_embd=16))
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return folder, genome, model.eval()


def path_of(world, kind):
    return world[0] / "task_5_variant_effect_prediction" / "input_data" / FILES[kind.name]


def ours(world, kind):
    """(our variants, our windows)."""
    variants, found = read_variants(path_of(world, kind))
    assert found is kind
    variants, said = check_reference(world[1], variants)
    assert len(said) == 1 and "neither allele" in said[0]
    return variants, make_windows(world[1], variants)[0]


def theirs(world, kind):
    """(their dataset of all rows, whether our code uses each row)."""
    dataset = official("components", TASK).VariantDataset(
        str(world[0] / "a.fa"), str(path_of(world, kind)), None, 0
    )
    table = dataset.elements_df
    used = np.full(len(table), True)
    for column in table.columns:
        if column.lower() in kind.used:
            used &= np.array(table[column].to_list())
    return dataset, used


def in_their_order(kind):
    """Which of our two alleles is their allele 1, and which their allele 2."""
    return (0, 1) if kind.other_allele == "allele1" else (1, 0)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.assembly)
def kind(request):
    return request.param


@pytest.fixture(autouse=True)
def one_unknown_is_few(monkeypatch):
    monkeypatch.setattr("dart.variants.MOST_UNKNOWN", 0.05)


def test_the_windows_are_bit_identical(world, kind):
    _, windows = ours(world, kind)
    dataset, used = theirs(world, kind)
    assert len(dataset) == N_ROWS and used.sum() == len(windows) < N_ROWS
    holes = 0
    for pair, i in zip(windows, np.flatnonzero(used)):
        for mine, allele in zip(in_their_order(kind), dataset[int(i)]):
            assert (allele.argmax(1).numpy() == pair[mine]).all()  # their models see N as A
            holes += not allele.any(1).all()
    assert holes > 10


def evaluator(model):
    """Their scorer of causal models (HDVariantSingleTokenEvaluator) around ours: the variant is
    hidden, by N, from what follows it.
    """

    class Ours(official("evaluators", TASK).VariantSingleTokenLikelihoodEvaluator):
        start_token = None
        end_token = None
        mask_token = N

        def tokenize(self, seqs):
            tokens = F.pad(seqs.argmax(2), (1, 0), value=N)
            starts = torch.ones(len(seqs), dtype=torch.long)
            return tokens, starts, starts + seqs.shape[1], None

        @torch.no_grad()
        def model_fwd(self, tokens_in, attention_mask, tokens_out):
            logits = self.model(tokens_in[:, :-1]).swapaxes(1, 2)
            nll = F.cross_entropy(logits, tokens_out[:, 1:], reduction="none")
            return F.pad(-nll, (1, 0))

    return Ours(None, model, 16, 0, "cpu")


def test_scores_and_metrics_agree(world, kind, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("DART_WORK_DIR", "")  # which their module sets
    variants, windows = ours(world, kind)
    dataset, used = theirs(world, kind)
    scored = evaluator(world[2]).evaluate(dataset, tmp_path / "raw.tsv", progress_bar=False)
    allele1 = np.array(scored["allele1_scores"].to_list())
    allele2 = np.array(scored["allele2_scores"].to_list())
    score = score_variants(Candidate("ours", world[2]), windows, 16)[:, 0]
    sign = 1 if kind.effect_allele == "allele2" else -1
    difference = sign * (allele2 - allele1)[used]
    print("largest difference of a score", abs(score - difference).max(), "of", abs(score).max())
    assert abs(score - difference).max() < 2e-3 < 0.1 < np.std(score)  # sums of 2,114 float32

    tasks = official("experiments.task_5_variant_effect_prediction.variant_tasks", TASK)
    monkeypatch.setattr(tasks, "work_dir", str(world[0]))
    table = pd.read_csv(path_of(world, kind), sep="\t")
    exact = np.zeros((len(table), 2))
    exact[used, 1] = sign * score  # so that no rounding changes a rank
    table["allele1_scores"], table["allele2_scores"] = exact.T
    table.to_csv(tmp_path / "scores.tsv", sep="\t", index=False)
    if kind.assembly == "hg38":
        control, significant = tasks.sig_ctrl_variants_Afr_CaQTLs(tmp_path / "scores.tsv")
        correlate = tasks.beta_logfc
    else:
        control, significant = tasks.variants_Yoruba_LCL_dsQTLs(tmp_path / "scores.tsv")
        correlate = tasks.est_size_logfc
    control, control_size = tasks.compute_change(control, sign < 0)
    significant, significant_size = tasks.compute_change(significant, sign < 0)
    expected = [*tasks.get_precision_recall_auc(control_size, significant_size)]
    expected += correlate(significant, "")
    result = variant_metrics(score, variants)
    found = [result["auprc"]]
    found += [result[name]["value"] for name in ("auroc", "pearson", "spearman")]
    print("auprc, auroc, pearson, spearman: theirs", expected, "ours", found)
    assert found == pytest.approx(expected, abs=1e-9)
    assert result["correlated"] == len(significant) > 20
