"""Our pairs, scores and networks against the official code of DART-Eval: DART_EVAL=clone python -m pytest tests/test_official_dart.py"""
import os

import numpy as np
import pytest
import torch
from torch import nn

import eval_dart as dart
from conftest import write_genome
from data import Genome
from model import GPT, GPTConfig, base_nll
from test_eval_dart import bed_text, chromosome

pytestmark = pytest.mark.skipif(not os.environ.get("DART_EVAL"), reason="DART_EVAL names no clone of github.com/kundajelab/DART-Eval")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(our model, genome, elements and pairs, the official dataset) on the same 160 elements, and the adapter."""
    for package in ("polars", "pyfaidx", "pandas", "scipy", "h5py", "transformers", "ncls", "sklearn"):
        pytest.importorskip(package)
    from tests import official_dart
    folder, rng = tmp_path_factory.mktemp("official"), np.random.default_rng(3)
    chroms = {name: chromosome(rng, 9000) for name in ("chr5", "chr22")}
    genome = Genome(write_genome(folder / "genome", {"test": chroms}))
    (folder / "a.fa").write_text("".join(f">{name}\n{letters}\n" for name, letters in chroms.items()))
    (folder / "a.bed").write_text(bed_text(rng, chroms, 78) + "chr5\t8800\t9000\nchr22\t4450\t4700\nchr5\t4505\t4580\nchr22\t100\t450\n")
    official_dart.elements(folder / "a.bed", folder / "a.tsv")
    elements = dart.read_bed(folder / "a.bed")
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=352, n_layer=2, n_head=2, n_embd=32))
    for p in model.parameters():
        nn.init.normal_(p, std=0.2)
    return model.eval(), genome, elements, dart.make_pairs(genome, elements)[0], official_dart.dataset(folder / "a.fa", folder / "a.tsv", None), official_dart


def test_the_pairs_are_bit_identical(both):
    _, _, elements, pairs, data, _ = both
    assert len(data) == len(pairs) == 160 and 40 < elements.flip.sum() < 120
    holes = 0
    for i in range(160):
        seq, ctrl, index = (x.numpy() for x in data[i])
        assert index == i and (seq.argmax(1) == pairs[i, 0]).all() and (ctrl.argmax(1) == pairs[i, 1]).all()  # their models see N as A
        holes += not seq.any(1).all()
    assert holes > 10


def test_log_likelihoods_and_accuracy_agree(both, tmp_path):
    model, _, _, pairs, data, official = both
    theirs = official.evaluator(model, data, batch_size=32)
    tokens, starts, ends, mask = theirs.tokenize(torch.stack([data[i][0] for i in range(160)]))
    per_base = theirs.model_fwd(tokens, mask, tokens)[:, starts:ends]
    with torch.no_grad():
        ours = -base_nll(model, torch.from_numpy(pairs[:, 0]).long())[:, 1:]
    assert per_base.shape == (160, 349) and (per_base - ours).abs().max() < 1e-5
    metrics = theirs.evaluate(tmp_path)
    scores = np.loadtxt(tmp_path / "scores.tsv", skiprows=1)
    assert (scores[:, 0] == np.arange(160)).all()
    mine = dart.score(model, pairs, 16)
    assert abs(scores[:, 1:] - mine).max() < 349e-5
    close = (abs(-np.diff(mine)) < 2 * 349e-5).sum()
    assert abs(metrics["acc"] * 160 - (-np.diff(mine) > 0).sum()) <= close < 16
    assert 0.1 < metrics["acc"] < 0.95


def test_the_networks_are_theirs(both):
    official = both[-1].official("supervised.training")
    x = torch.randn(3, 350, 48, generator=torch.Generator().manual_seed(0))
    bases = torch.eye(4)[torch.randint(0, 4, (3, 350), generator=torch.Generator().manual_seed(0))]
    for ours, theirs, x, ends in ((dart.CNN(48), official.CNNSlicedEmbeddingsClassifier(48, 32, 8), x, torch.tensor([[0, 350]] * 3)),
                                  (dart.AbInitio(), official.CNNSequenceBaselineClassifier(256, 32, 8, 350, 41, 1), bases, None)):
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
        nn.init.normal_(next(ours.parameters()))
        for p, q in zip(theirs.parameters(), ours.parameters()):
            p.data.copy_(q)
        torch.testing.assert_close(ours(x), theirs(x, ends))


def test_the_official_probe_reads_our_states(both, tmp_path):
    model, _, _, pairs, data, official = both
    official.embed(model, data, tmp_path / "a.h5", batch_size=40)
    import h5py
    with h5py.File(tmp_path / "a.h5") as file:
        low, high = file["seq/idx_fix"][:]
        for k, side in enumerate(("seq", "ctrl")):
            theirs = torch.from_numpy(file[f"{side}/emb_40_80"][:, low:high])
            torch.testing.assert_close(theirs, dart.states(model, pairs[40:80, k]))
