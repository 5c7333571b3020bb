"""Our pairs, scores and networks against the official code of DART-Eval:

DART_EVAL=clone python -m pytest tests/test_official_dart.py
"""

import os

import numpy as np
import pytest
import torch
from torch import nn

from dart.elements import read_elements
from dart.networks import CNN, AbInitio
from dart.pairs import make_pairs
from dart.probe import states
from dart.zero_shot import score
from data import Genome
from experiments import official_dart
from model import GPT, GPTConfig, base_nll
from tests.conftest import write_genome
from tests.test_eval_dart import bed_text, chromosome

pytestmark = pytest.mark.skipif(
    not os.environ.get("DART_EVAL"),
    reason="DART_EVAL names no clone of github.com/kundajelab/DART-Eval",
)
PACKAGES = ("polars", "pyfaidx", "pandas", "scipy", "h5py", "transformers", "ncls", "sklearn")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(our model, our elements, our pairs, the official dataset) of the same 160 elements."""
    for package in PACKAGES:
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("official")
    rng = np.random.default_rng(3)
    chroms = {name: chromosome(rng, 9000) for name in ("chr5", "chr22")}
    genome = Genome(write_genome(folder / "genome", {"test": chroms}))
    fasta = "".join(f">{name}\n{letters}\n" for name, letters in chroms.items())
    (folder / "a.fa").write_text(fasta)
    bed = bed_text(rng, chroms, 78)
    bed += "chr5\t8800\t9000\nchr22\t4450\t4700\nchr5\t4505\t4580\nchr22\t100\t450\n"
    (folder / "a.bed").write_text(bed)
    official_dart.elements(folder / "a.bed", folder / "a.tsv")
    data = official_dart.dataset(folder / "a.fa", folder / "a.tsv", None)
    elements = read_elements(folder / "a.bed")
    pairs, _ = make_pairs(genome, elements)
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=352, n_layer=2, n_head=2, n_embd=32))
    for p in model.parameters():
        nn.init.normal_(p, std=0.2)
    return model.eval(), elements, pairs, data


def test_the_pairs_are_bit_identical(both):
    _, elements, pairs, data = both
    assert len(data) == len(pairs) == 160
    assert 40 < elements.flip.sum() < 120
    holes = 0
    for i in range(160):
        seq, ctrl, index = (x.numpy() for x in data[i])
        assert index == i
        assert (seq.argmax(1) == pairs[i, 0]).all()  # their models see N as A
        assert (ctrl.argmax(1) == pairs[i, 1]).all()
        holes += not seq.any(1).all()
    assert holes > 10


def test_log_likelihoods_and_accuracy_agree(both, tmp_path):
    model, _, pairs, data = both
    theirs = official_dart.evaluator(model, data, batch_size=32)
    one_hot = torch.stack([data[i][0] for i in range(160)])
    tokens, starts, ends, mask = theirs.tokenize(one_hot)
    per_base = theirs.model_fwd(tokens, mask, tokens)[:, starts:ends]
    with torch.no_grad():
        ours = -base_nll(model, torch.from_numpy(pairs[:, 0]).long())[:, 1:]
    assert per_base.shape == (160, 349)
    assert (per_base - ours).abs().max() < 1e-5
    metrics = theirs.evaluate(tmp_path)
    scores = np.loadtxt(tmp_path / "scores.tsv", skiprows=1)
    assert (scores[:, 0] == np.arange(160)).all()
    mine = score(model, pairs, 16)
    assert abs(scores[:, 1:] - mine).max() < 349e-5
    difference = -np.diff(mine)
    close = (abs(difference) < 2 * 349e-5).sum()
    assert abs(metrics["acc"] * 160 - (difference > 0).sum()) <= close < 16
    assert 0.1 < metrics["acc"] < 0.95


def assert_same_network(ours, theirs, x, ends):
    """The same shapes of weights, and with the same weights the same output."""
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    nn.init.normal_(next(ours.parameters()))
    for p, q in zip(theirs.parameters(), ours.parameters()):
        p.data.copy_(q)
    torch.testing.assert_close(ours(x), theirs(x, ends))


def test_the_networks_are_theirs(both):
    official = official_dart.official("supervised.training")
    x = torch.randn(3, 350, 48, generator=torch.Generator().manual_seed(0))
    cnn = official.CNNSlicedEmbeddingsClassifier(48, 32, 8)
    assert_same_network(CNN(48), cnn, x, torch.tensor([[0, 350]] * 3))
    letters = torch.randint(0, 4, (3, 350), generator=torch.Generator().manual_seed(0))
    ab_initio = official.CNNSequenceBaselineClassifier(256, 32, 8, 350, 41, 1)
    assert_same_network(AbInitio(), ab_initio, torch.eye(4)[letters], None)


def test_the_official_probe_reads_our_states(both, tmp_path):
    model, _, pairs, data = both
    official_dart.embed(model, data, tmp_path / "a.h5", batch_size=40)
    import h5py

    with h5py.File(tmp_path / "a.h5") as file:
        low, high = file["seq/idx_fix"][:]
        for k, side in enumerate(("seq", "ctrl")):
            theirs = torch.from_numpy(file[f"{side}/emb_40_80"][:, low:high])
            torch.testing.assert_close(theirs, states(model, pairs[40:80, k]))
