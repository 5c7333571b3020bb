"""eval_dart.py and dart/: the pairs against the published vectors and a slow re-implementation, the
score, the probe, and the script itself.
"""

import bz2
import dataclasses
import gzip
import hashlib
import json
import math
import runpy
import sys

import numpy as np
import pytest
import torch
from torch import nn

import eval_dart
from dart import pairs as windows_and_controls
from dart.elements import FIELDS, choose, find_ccre, read_elements, spaced
from dart.folds import make_folds
from dart.metrics import TIE, rate
from dart.networks import CNN, AbInitio, linear
from dart.pairs import make_pairs, unmasked
from dart.probe import probe_metrics, states, train_probe
from dart.shuffle import shuffle_paths
from dart.zero_shot import score
from data import Genome, decode, encode, regions, reverse_complement
from markov import Markov
from model import GPT, GPTConfig, base_nll
from runtime.checkpoint import load_model, save_checkpoint
from tests import test_prepare
from tests.conftest import one_line_error, random_dna, run, write_genome

COMPLEMENT = dict(zip("ACGTN", "TGCAN"))
server = test_prepare.server  # a fixture: a web server with faults


# ---- an oracle: the protocol's text, one base at a time


def official_seed(chrom, start, end):
    text = repr((0, chrom, start, end))
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2**128


def slow_shuffle(element, rng):
    after = {base: [] for base in "ACGT"}
    for i in range(len(element) - 1):
        after[element[i]].append(i + 1)
    for base in "ACGT":
        if len(after[base]) > 1:
            order = rng.permutation(len(after[base]) - 1)
            after[base] = [after[base][k] for k in order] + after[base][-1:]
    at = 0
    out = element[0]
    for _ in range(len(element) - 1):
        at = after[element[at]].pop(0)
        out += element[at]
    return out


def slow_pair(letters, chrom, start, end, flip):
    """[the window, its control], as letters."""
    begin = start - (350 - (end - start)) // 2
    window = ""
    for i in range(begin, begin + 350):
        letter = letters[i].upper() if 0 <= i < len(letters) else "N"
        window += letter if letter in "ACGT" else "N"
    low = start - begin
    high = end - begin
    rng = np.random.default_rng(official_seed(chrom, start, end))
    shuffled = slow_shuffle(window[low:high].replace("N", "A"), rng)
    pair = [window, window[:low] + shuffled + window[high:]]
    if flip:
        pair = ["".join(COMPLEMENT[c] for c in reversed(s)) for s in pair]
    return [s.replace("N", "A") for s in pair]


def bed_text(rng, chroms, each, classes=("PLS", "dELS")):
    """A BED with `each` elements on each of {chromosome: letters}."""
    rows = []
    for name, letters in chroms.items():
        starts = rng.choice(np.arange(200, len(letters) - 600), each, replace=False)
        for i, start in enumerate(sorted(starts.tolist())):
            end = start + int(rng.integers(150, 351))
            kind = classes[i % len(classes)]
            rows.append(f"{name}\t{start}\t{end}\tE{i}\t0\t.\t{start}\t{start}\t0,0,0\t{kind}\n")
    return "".join(rows)


def chromosome(rng, n):
    """Both cases, IUPAC codes, single N's and a gap."""
    letters = list(random_dna(rng, n))
    for i in rng.integers(0, n, 40):
        letters[i] = "NnRk"[i % 4]
    letters[n // 2 : n // 2 + 90] = "N" * 90
    return "".join(letters)


def dinucleotides(bases):
    return np.bincount(bases[:-1] * 4 + bases[1:], minlength=16)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder of a prepared genome with its ccre.bed, {chromosome: letters}, a checkpoint trained
    on nothing).
    """
    folder = tmp_path_factory.mktemp("dart")
    rng = np.random.default_rng(5)
    chroms = {name: chromosome(rng, 9000) for name in ("chr1", "chr2", "chr21", "chr5", "chr22")}
    splits = {
        "train": {name: chroms[name] for name in ("chr1", "chr2")},
        "val": {"chr21": chroms["chr21"]},
        "test": {name: chroms[name] for name in ("chr5", "chr22")},
    }
    write_genome(folder / "genome", splits)
    (folder / "genome" / "ccre.bed").write_text(bed_text(rng, chroms, 16))
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=352, n_layer=1, n_head=1, n_embd=16))
    for p in model.parameters():  # those that start at zero predict nothing
        nn.init.normal_(p, std=0.3)
    checkpoint = {
        "model": model.state_dict(),
        "model_args": dataclasses.asdict(model.config),
        "step": 7,
        "config": {"dataset": str(folder / "genome")},
        "data": {"train": ["chr1", "chr2", "chr5"], "val": [], "test": []},
    }
    save_checkpoint(folder / "ckpt.pt", checkpoint)
    return folder, chroms, model.eval()


def elements_of(world):
    return read_elements(world[0] / "genome" / "ccre.bed")


# ---- the pairs


def test_published_seeds_and_draws():
    assert official_seed("chr5", 12345, 12678) == 0x81F8BBB807D019493B3DFE1A7079B4A9
    rng = np.random.default_rng(official_seed("chr1", 300, 584))
    assert rng.permutation(8).tolist() == [7, 4, 0, 6, 1, 2, 5, 3]


@pytest.mark.parametrize(
    "seed, expected",
    (
        (0, "ATTACGTCATGGTTTGCACGGCGACAACCA"),
        (1, "ACGCACACGCGGTTTAATGGTTCATGACCA"),
        (12345, "ACCGTTTATGGCACGTTCACGCAATGGACA"),
    ),
)
@pytest.mark.parametrize("flanks", ("", "GATTACA"))
def test_published_shuffles(seed, expected, flanks):
    window = encode(flanks + "ACGTTGCAACGGTCATTACGGCATTGACCA" + flanks)[None]
    low = np.array([len(flanks)])
    words = np.array([seed, 0, 0, 0], np.uint32)
    path = shuffle_paths(window, low, low + 30, [words])
    assert decode(window[0][path[0]]) == flanks + expected + flanks
    assert sorted(path[0]) == list(range(window.shape[1]))


def test_strand_flags_are_drawn_for_every_row(tmp_path):
    rows = "".join(f"chr{i % 7}\t{i}\t{i + 150}\n" for i in range(100_000))
    (tmp_path / "a.bed").write_text("# a comment draws nothing\n" + rows)
    flip = read_elements(tmp_path / "a.bed").flip
    drawn = "".join("FT"[f] for f in flip[:40].astype(int))
    assert drawn == "TFFTFFFFFFFTTFTTTTTFTFFTTFFFFTFTFTFFTFFT"
    assert flip.sum() == 49_937


def test_pairs_equal_a_slow_implementation(tmp_path):
    rng = np.random.default_rng(1)
    letters = chromosome(rng, 3000)
    genome = Genome(write_genome(tmp_path, {"train": {"chr5": letters}}))
    rows = []
    for n in [1, 2, 3, 349, 350, 350, *rng.integers(1, 351, 294)]:
        start = int(rng.integers(0, 3000 - n))
        rows.append(("chr5", start, start + int(n), bool(rng.integers(2)), ""))
    rows.append(("chr5", 0, 150, False, ""))  # at the ends, and all N
    rows.append(("chr5", 2850, 3000, True, ""))
    rows.append(("chr5", 1500, 1590, True, ""))
    pairs, holes = make_pairs(genome, np.rec.array(rows, FIELDS), chunk=100)
    expected = [slow_pair(letters, *row[:4]) for row in rows]
    assert [[decode(s) for s in pair] for pair in pairs] == expected
    padded = "N" * 350 + letters + "N" * 350
    windows = [padded[350 + b - (350 - e + b) // 2 :][:350].upper() for _, b, e, *_ in rows]
    assert holes == sum(bool(set(w) - set("ACGT")) for w in windows) > 10


def test_controls_keep_what_they_must(world):
    elements = elements_of(world)
    elements.flip = False
    pairs, _ = make_pairs(Genome(world[0] / "genome"), elements)
    for e, (seq, ctrl) in zip(elements, pairs):
        a = (350 - (e.end - e.start)) // 2
        b = a + e.end - e.start
        assert (seq[: a + 1] == ctrl[: a + 1]).all()
        assert (seq[b - 1 :] == ctrl[b - 1 :]).all()
        assert (seq != ctrl).sum() > 50
        assert (dinucleotides(seq) == dinucleotides(ctrl)).all()


def test_what_the_official_fasta_masks_is_counted(tmp_path, monkeypatch):
    """A window counts if it reaches a base (1-based 2001 to 3000, of which 2501 to 2700 are N here
    too) by one at least.
    """
    letters = random_dna(np.random.default_rng(0), 4000)
    with_gap = letters[:2500] + "N" * 200 + letters[2700:]
    genome = Genome(write_genome(tmp_path, {"test": {"chr5": with_gap, "chr14": letters}}))

    def count(chrom, start):
        return unmasked(genome, np.rec.array([(chrom, start, start + 350)], FIELDS[:3]))

    masked = [("chr5", 2001, 2510), ("chr5", 2691, 3000)]
    monkeypatch.setattr(windows_and_controls, "MASKED", masked)
    starts = (1650, 1651, 2499, 2500, 2999, 3000)
    assert [count("chr5", start) for start in starts] == [0, 1, 1, 1, 1, 0]
    monkeypatch.setattr(windows_and_controls, "MASKED", [("chr5", 2501, 2700)])
    assert count("chr5", 2400) == 0
    assert count("chr14", 2400) == 0
    monkeypatch.undo()
    assert all(0 < a < b for _, a, b in windows_and_controls.MASKED)
    of_y = [b - a + 1 for chrom, a, b in windows_and_controls.MASKED if chrom == "chrY"]
    assert sum(of_y) == 2_771_479 + 329_513


def test_choose_takes_the_chromosomes_of_each_part(world):
    elements = elements_of(world)
    genome = Genome(world[0] / "genome")
    rows = choose(elements, genome, "test")
    assert {part: sorted(set(elements.chrom[r])) for part, r in rows.items()} == {
        "train": ["chr1", "chr2"],
        "val": ["chr21"],
        "test": ["chr22", "chr5"],
    }
    assert list(choose(elements, genome, "val")) == ["train", "val"]
    assert spaced(np.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert spaced(np.arange(3), 9).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "names",
    (
        ("s1", "s2", "s3"),
        ("chr5", "chr18", "chr19"),  # it trains on one of DART-Eval's test chromosomes
        ("chr1", "chr6", "chr10"),
    ),
)
def test_a_genome_of_other_names_or_split_is_tested_on_its_own(tmp_path, names):
    rng = np.random.default_rng(0)
    splits = {}
    for part, name in zip(("train", "val", "test"), names):
        splits[part] = {name: chromosome(rng, 3000)}
    (tmp_path / "a.bed").write_text(bed_text(rng, {**splits["train"], **splits["test"]}, 5))
    genome = Genome(write_genome(tmp_path / "genome", splits))
    rows = choose(read_elements(tmp_path / "a.bed"), genome, "test")
    assert {part: list(found) for part, found in rows.items()} == {
        "train": [0, 1, 2, 3, 4],
        "val": [],
        "test": [5, 6, 7, 8, 9],
    }


def test_folds():
    chrom = np.array(["chr1"] * 300 + ["chr21"] * 120 + ["chr5"] * 50, object)
    elements = np.rec.array([(c, 0, 1, False, "") for c in chrom], FIELDS)
    rows = {"train": np.arange(300), "val": np.arange(300, 420), "test": np.arange(420, 470)}
    used, folds, how = make_folds(elements, rows, rows["test"], 200)
    assert how == "official split"
    assert [set(chrom[used[part]]) for part in folds[0]] == [{"chr1"}, {"chr21"}, {"chr5"}]
    assert [len(part) for part in folds[0]] == [200, 51, 50]
    few = dict(rows, val=rows["val"][:20])
    used, folds, how = make_folds(elements, few, rows["test"], 1000)
    assert how.startswith("cross-validated")
    assert len(folds) == 1
    train, val, test = (set(chrom[used[part]]) for part in folds[0])
    assert test == {"chr5"}
    assert len(train) == len(val) == 1
    assert not train & val
    assert "chr5" not in train | val
    two = {"train": rows["train"], "val": rows["val"][:0], "test": rows["test"]}
    assert make_folds(elements, two, rows["test"], 1000)[1] == []


# ---- the score


class Table(nn.Module):
    """The next base's logits are a row of a fixed table, chosen by the last token."""

    def __init__(self):
        super().__init__()
        self.logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))

    def forward(self, idx):
        return self.logits[idx]


def test_score_is_the_sum_over_all_but_the_first_base():
    bases = np.random.default_rng(0).integers(0, 4, (5, 2, 40)).astype(np.uint8)
    log_p = torch.log_softmax(Table().logits.double(), 1)
    expected = []
    for pair in bases.tolist():
        expected.append([sum(log_p[a, b].item() for a, b in zip(s[:-1], s[1:])) for s in pair])
    assert score(Table(), bases, batch_size=3) == pytest.approx(np.array(expected), abs=1e-4)


def test_the_bigram_ties_and_the_next_order_does_not(world):
    genome = Genome(world[0] / "genome")
    pairs, _ = make_pairs(genome, elements_of(world))
    same = [np.array_equal(dinucleotides(seq), dinucleotides(ctrl)) for seq, ctrl in pairs]
    clean = pairs[same]
    markov = Markov(genome.bases("train"), 2)
    for order, ties in ((2, 0), (1, len(clean))):
        for strand in (clean, reverse_complement(clean)):
            result = rate(-np.diff(score(markov.at_order(order), strand))[:, 0])
            assert result["ties"] == ties
            assert (result["accuracy"] == 0) == (order == 1)
    assert len(clean) > 40


def test_ties_count_as_wrong_and_the_interval_is_wilsons():
    result = rate(np.array([5.0] * 8 + [0.0, 1e-4]))
    assert (result["accuracy"], result["ties"], result["pairs"]) == (0.8, 2, 10)
    assert result["low"] == pytest.approx(0.4902, abs=1e-4)  # textbook values
    assert result["high"] == pytest.approx(0.9433, abs=1e-4)
    assert rate(np.ones(300))["low"] == pytest.approx(300 / (300 + 1.959964**2), abs=1e-9)


# ---- the probe


def test_metrics_by_hand():
    result = probe_metrics(np.array([[2.0, 1.0], [-1.0, -3.0], [1.0, 1.0], [3.0, -2.0]]))
    assert result["accuracy"] == 5 / 8
    assert result["paired"] == 3 / 4
    assert result["mcc"] == pytest.approx((3 * 2 - 2 * 1) / math.sqrt(5 * 4 * 4 * 3))
    assert result["auroc"] == 13 / 16  # 4 + 2 + 3 + 4 of 16, the two equal ones half each


def test_metrics_against_their_definitions():
    margin = np.random.default_rng(0).integers(-3, 4, (60, 2)) + np.array([0.5, 0.0])
    margin[:20] -= 0.5 * (margin[:20] % 1 > 0)
    real, control = margin.T
    result = probe_metrics(margin)
    wins = [(a > b) + 0.5 * (a == b) for a in real for b in control]
    assert result["auroc"] == pytest.approx(np.mean(wins))
    area = 0.0
    recall = 0.0
    for threshold in sorted(set(margin.ravel()), reverse=True):
        hits = (real >= threshold).sum()
        false = (control >= threshold).sum()
        area += (hits / 60 - recall) * hits / (hits + false)
        recall = hits / 60
    assert result["auprc"] == pytest.approx(area)
    said = np.concatenate((real, control)) > 0
    truth = np.repeat((1, 0), 60)
    assert result["mcc"] == pytest.approx(np.corrcoef(said, truth)[0, 1])
    perfect = probe_metrics(np.array([[1.0, -1.0]] * 5))
    assert {perfect[k] for k in ("accuracy", "paired", "auroc", "auprc", "mcc")} == {1.0}


def n_weights(network):
    return sum(p.numel() for p in network.parameters())


def test_the_probe_has_the_official_size():
    assert [n_weights(CNN(C)) for C in (128, 256, 768)] == [20_642, 24_738, 41_122]
    assert CNN(4)(torch.zeros(3, 350, 4)).shape == (3, 2)
    assert n_weights(AbInitio()) == 67_840
    assert AbInitio()(torch.zeros(3, 350, 4)).shape == (3, 2)


def one_hot(bases):
    return states(None, bases)


def pairs_with_motif(rng, T, motif, last):
    """240 random pairs, (240, 2, T), the first of each with the motif at a place before `last`."""
    pairs = rng.integers(0, 4, (240, 2, T)).astype(np.uint8)
    for row, at in zip(pairs[:, 0], rng.integers(0, last, 240)):
        row[at : at + 12] = encode(motif)
    return pairs


def test_the_ab_initio_network_finds_a_motif():
    pairs = pairs_with_motif(np.random.default_rng(0), 40, "TTGACGTCATAA", 28)
    folds = [np.split(np.arange(240), (160, 200))]

    def network(C):
        return AbInitio(C, 40)

    margin = train_probe(one_hot, pairs, folds, network, 1e-3, epochs=12, batch=16)
    assert probe_metrics(margin[200:])["paired"] > 0.9


@pytest.mark.parametrize("memory", (4.0, 0.0))
def test_the_probe_learns_what_is_there_and_nothing_else(memory):
    rng = np.random.default_rng(0)
    pairs = pairs_with_motif(rng, 60, "ACGTACGTACGT", 40)
    folds = [np.split(np.arange(240), (160, 200))]
    margin = train_probe(one_hot, pairs, folds, epochs=12, batch=16, memory=memory)
    assert np.isnan(margin[:200]).all()
    assert not np.isnan(margin[200:]).any()
    assert probe_metrics(margin[200:])["paired"] > 0.9
    if memory:
        # the more it has learned, the worse it does here: an early epoch is kept
        wrong = pairs.copy()
        wrong[160:200] = pairs[160:200, ::-1]
        early = train_probe(one_hot, wrong, folds, epochs=12, batch=16)
        gap = [np.median(m[200:, 0] - m[200:, 1]) for m in (early, margin)]
        assert gap[0] < 0.3 * gap[1]
        # which is which says nothing
        blind = np.where(rng.random((240, 1, 1)) < 0.5, pairs, pairs[:, ::-1])
        margin = train_probe(one_hot, blind, folds, epochs=12, batch=16)
        assert 0.2 < probe_metrics(margin[200:])["paired"] < 0.8


def test_states_are_those_at_each_base(world):
    model = world[2]
    bases = np.random.default_rng(0).integers(0, 4, (2, 350)).astype(np.uint8)
    found = states(model, bases)
    assert found.shape == (2, 350, 16)
    assert found.dtype == torch.float32
    changed = bases.copy()
    changed[:, 100] = (changed[:, 100] + 1) % 4
    same = (states(model, changed) == found).all(2)
    assert same[:, :100].all()
    assert not same[:, 100].any()  # the state at a base has read it
    log_p = torch.log_softmax(model.lm_head(found)[..., :4], 2)
    nats = base_nll(model, torch.from_numpy(bases).long())
    assert -log_p[0, 9, bases[0, 10]].item() == pytest.approx(nats[0, 10].item(), abs=1e-5)
    assert (one_hot(bases).argmax(2).numpy() == bases).all()


def test_states_of_a_layer_and_pooled(world):
    model = world[2]
    bases = np.random.default_rng(0).integers(0, 4, (2, 350)).astype(np.uint8)
    last = states(model, bases)
    first = states(model, bases, layer=0)
    assert torch.equal(last, states(model, bases, layer=1))
    assert not torch.allclose(last, first, atol=0.1)
    changed = bases.copy()
    changed[:, 100] = (changed[:, 100] + 1) % 4
    other = ~torch.isclose(states(model, changed, layer=0), first, atol=1e-5).all(2)
    # before any block a state knows its base and those that the stem reads before it, and no more
    end = 100 + model.config.stem_bases
    assert other[:, 100:end].all()
    assert not other[:, :100].any()
    assert not other[:, end:].any()
    other = ~torch.isclose(states(model, changed), last, atol=1e-5).all(2)
    assert other[:, end:].any()
    assert torch.equal(states(model, bases, pool="mean"), last.mean(1))


def test_a_pooled_probe_sees_composition_and_the_shuffle_keeps_it(world):
    """Pairs with the same bases in another order are all ties; where one has more of a base, a
    linear probe says so.
    """
    rng = np.random.default_rng(0)
    pairs, _ = make_pairs(Genome(world[0] / "genome"), elements_of(world))
    pairs = pairs[(np.sort(pairs[:, 0]) == np.sort(pairs[:, 1])).all(1)]  # those without N
    folds = [np.split(np.arange(len(pairs)), (len(pairs) // 2, len(pairs) * 3 // 4))]
    tested = folds[0][2]

    def embed(bases):
        return states(None, bases, pool="mean")

    margin = train_probe(embed, pairs, folds, linear, epochs=5, batch=8)[tested]
    tied = probe_metrics(margin, 1e-4)
    assert (tied["paired"], tied["ties"]) == (0, len(margin))
    assert len(margin) > 10
    richer = pairs.copy()
    richer[:, 0] = np.where(rng.random(richer[:, 0].shape) < 0.1, 2, richer[:, 0])
    margin = train_probe(embed, richer, folds, linear, epochs=20, batch=8)[tested]
    assert probe_metrics(margin, 1e-4)["paired"] == 1


# ---- the script


def test_the_script_end_to_end(world, tmp_path):
    folder, chroms, model = world
    words = ("--device=cpu", "--dtype=float32", "--max_pairs=20", "--probe_epochs=2")
    where = ("--ckpt", folder / "ckpt.pt", "--json", tmp_path / "r.json")
    done = run("eval_dart.py", *where, *words, "--markov_order=3")
    assert done.returncode == 0, done.stderr
    assert "20 of 32 on DART-Eval's test chromosomes (chr5, chr22)" in done.stdout
    assert "pretraining saw chr5 of" in done.stdout
    assert "HyenaDNA" in done.stdout
    assert "not the published list" in done.stdout
    assert "cross-validated" in done.stdout
    lines = done.stdout.splitlines()
    row = next(line.split() for line in lines if line.startswith("HyenaDNA large-1m "))
    assert row[2:] == ["0.891", "-", "-", "0.847", "0.935", "-"]  # as in the paper's Table 3
    assert run("figures/dart.py", tmp_path / "r.json", tmp_path / "r.png").returncode == 0
    assert (tmp_path / "r.png").stat().st_size > 10_000

    elements = elements_of(world)
    on_test = np.flatnonzero([c in ("chr5", "chr22") for c in elements.chrom])
    tested = elements[spaced(on_test, 20)]
    pairs, _ = make_pairs(Genome(folder / "genome"), tested)
    expected = []
    for e in tested:
        expected.append(slow_pair(chroms[e.chrom], e.chrom, int(e.start), int(e.end), e.flip))
    assert [[decode(x) for x in pair] for pair in pairs] == expected

    models = json.loads((tmp_path / "r.json").read_text())["models"]
    markov = [name for name in models if name.startswith("Markov order ")]
    probed = ["one-hot", "bigram", "untrained", "this model", "ab initio CNN"]
    assert list(models) == [
        "uniform",
        "bigram",
        *markov,
        "this model",
        "one-hot",
        "untrained",
        "ab initio CNN",
    ]
    nats = [-np.diff(score(model, x))[:, 0] for x in (pairs, reverse_complement(pairs))]
    zero = models["this model"]["zero_shot"]
    assert zero["accuracy"] == (nats[0] > 1e-3).mean()
    assert zero["both_strands"]["accuracy"] == (sum(nats) > 2e-3).mean()
    assert sum(c["pairs"] for c in zero["by_class"].values()) == 20
    assert set(zero["by_class"]) == {"PLS", "dELS"}
    assert models["uniform"]["zero_shot"]["ties"] == 20
    assert models["uniform"]["zero_shot"]["accuracy"] == 0
    assert all(models[name]["probe"]["pairs"] == 20 for name in probed)


AS_ON_A_GPU = """
import eval_dart
from dart import task1
how_many = task1.how_many
task1.how_many = lambda settings, kind: how_many(settings, "cuda")
task1.SOME_ON_GPU = 12
eval_dart.main()
"""


def test_a_gpu_scores_all_pairs_and_some_on_both_strands(world, tmp_path):
    words = ["--ckpt", world[0] / "ckpt.pt", "--only=zero_shot", "--device=cpu"]
    words += ["--dtype=float32", "--markov_order=2", "--json"]
    as_gpu = run("-c", AS_ON_A_GPU, *words, tmp_path / "some.json")
    as_cpu = run("eval_dart.py", *words, tmp_path / "all.json")
    assert as_gpu.returncode == 0, as_gpu.stderr
    assert as_cpu.returncode == 0, as_cpu.stderr
    assert "32 of 32 on" in as_gpu.stdout
    assert "both strands: 12 of the pairs" in as_gpu.stdout

    def zero_shot(name):
        held = json.loads((tmp_path / name).read_text())
        return held["models"]["this model"]["zero_shot"]

    some = zero_shot("some.json")
    every = zero_shot("all.json")
    assert some["accuracy"] == every["accuracy"]
    assert some["both_strands"]["pairs"] == 12
    assert every["both_strands"]["pairs"] == 32
    assert sum(c["both_strands"].get("pairs", 0) for c in some["by_class"].values()) == 12


def test_the_script_names_its_deviations(world, tmp_path):
    """bfloat16's flips are those of the scores themselves; an inner layer and a pooled probe say
    so, and shuffled pairs tie in them.
    """
    folder, _, model = world
    where = ("--ckpt", folder / "ckpt.pt", "--json", tmp_path / "r.json", "--device=cpu")
    words = ("--dtype=bfloat16", "--probe_epochs=1", "--markov_order=1", "--layer=0", "--pool=mean")
    done = run("eval_dart.py", *where, *words)
    assert done.returncode == 0, done.stderr
    assert "after 0 of 1 blocks (official: the last)" in done.stdout
    assert "the probe is linear" in done.stdout
    genome = Genome(folder / "genome")
    elements = elements_of(world)
    pairs, _ = make_pairs(genome, elements[choose(elements, genome, "test")["test"]])
    exact = -np.diff(score(model, pairs))[:, 0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = -np.diff(score(model, pairs, 8))[:, 0]
    flips = ((exact > TIE) != (rough > TIE)).sum()
    results = json.loads((tmp_path / "r.json").read_text())
    assert f"bfloat16 changes the verdict on {flips} of 32 pairs" in done.stdout
    assert abs(exact - rough).max() > 0.01
    assert results["models"]["this model"]["zero_shot"]["accuracy"] == (rough > TIE).mean()
    assert results["models"]["bigram"]["probe"]["paired"] < 0.5  # but for pairs with N


def test_a_user_sees_one_line(world, tmp_path):
    ckpt = f"--ckpt={world[0] / 'ckpt.pt'}"
    bed = tmp_path / "a.bed"
    bed.write_text("chr5\t100\t300\nchr5\t400\tx\n")
    out = f"--json={tmp_path / 'r.json'}"
    one_line_error(run("eval_dart.py", ckpt, f"--ccre={bed}", out), "line 2")
    assert not (tmp_path / "r.json").exists()
    one_line_error(run("eval_dart.py", ckpt, "--ccre=missing.bed"), "missing.bed")


def test_a_checkpoint_of_another_vocabulary(world, tmp_path):
    held = torch.load(world[0] / "ckpt.pt", map_location="cpu", weights_only=True)
    held["model"]["wte.weight"] = torch.zeros(6, 16)
    save_checkpoint(tmp_path / "six.pt", held)
    nanogpt = {"model": {}, "model_args": {"vocab_size": 50304}, "iter_num": 3}
    save_checkpoint(tmp_path / "nanogpt.pt", nanogpt)
    for name, said in (
        ("six", r"another model .* wte.weight.*\[6, 16\]"),
        ("nanogpt", "checkpoint of something else: it has no config"),
    ):
        with pytest.raises(SystemExit, match=said) as error:
            load_model(tmp_path / f"{name}.pt")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words, said",
    (
        (("--layer=2",), "layer = 2: give 0 to 1"),
        (("--pool=max",), "pool = 'max'"),
        (("--split=dev",), "split = 'dev'"),
        (("--only=zeroshot",), "only = 'zeroshot'.*zero_shot"),
        (("--probe_epochs=0",), "probe_epochs = 0: give at least 1"),
        (("--json=no/such/r.json",), "no such folder"),
        (("--split=val", "--ccre=chr5.bed"), "no element on"),
        (("--ccre=chr5.bed",), "three chromosomes"),
        (("--ckpt=short.pt",), "context of 350"),
    ),
)
def test_settings_that_cannot_be(world, tmp_path, monkeypatch, words, said):
    (tmp_path / "chr5.bed").write_text("chr5\t1000\t1300\n")
    short = GPT(GPTConfig(block_size=350, n_layer=1, n_head=1, n_embd=16))
    checkpoint = {
        "model": short.state_dict(),
        "model_args": dataclasses.asdict(short.config),
        "config": {},
        "data": {},
        "step": 0,
    }
    save_checkpoint(tmp_path / "short.pt", checkpoint)
    monkeypatch.chdir(tmp_path)
    typed = ["eval_dart.py", f"--ckpt={world[0] / 'ckpt.pt'}", "--device=cpu", *words]
    monkeypatch.setattr(sys, "argv", typed)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the script sets
    with pytest.raises(SystemExit, match=said) as error:
        runpy.run_path(eval_dart.__file__, run_name="__main__")
    assert str(error.value).startswith("error: ")
    assert "\n" not in str(error.value)


NO_ANSWER = "no answer from encodeproject.org"


@pytest.mark.parametrize(
    "portal, sent, said",
    (
        (b'{"md5sum": "%s"}', b"half of", "came with md5"),
        (b"<html>", b"", NO_ANSWER),
        (b"{}", b"", NO_ANSWER),
        (None, b"", NO_ANSWER),
    ),
)
def test_the_elements_are_downloaded_whole_or_not_at_all(
    server, tmp_path, monkeypatch, portal, sent, said
):
    whole = gzip.compress(b"chr5\t100\t300\n")
    md5 = hashlib.md5(whole).hexdigest().encode()
    path = "/@@download/ENCFF420VPZ.bed.gz"
    monkeypatch.setattr(regions, "PORTAL", f"{server.url}/")
    monkeypatch.setattr(regions, "DOWNLOADED", tmp_path / "data" / "ccre" / "ENCFF420VPZ.bed.gz")
    if portal:
        server.files["/?format=json"] = portal.replace(b"%s", md5)
    server.files[path] = whole[: len(whole) // 2] if sent else whole
    with pytest.raises(SystemExit, match=said) as error:
        find_ccre(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.bed.gz"))
    server.files["/?format=json"] = b'{"md5sum": "%s"}' % md5
    server.files[path] = whole
    assert len(read_elements(find_ccre(tmp_path))) == 1


@pytest.mark.parametrize(
    "text, said",
    (
        ("", "no elements"),
        ("\n# nothing\n", "no elements"),
        ("chr5\t300\t300\n", "no elements"),
        ("chr5\t300\t299\n", "line 1"),
        ("chr5\t-5\t300\n", "line 1"),
        ("chr5,100,300\n", "line 1"),
        ("chrom\tstart\tend\n", "no elements"),
        ("chr5\t1\t9\nchrom\tstart\tend\n", "line 2"),
        ("chr5\t1\t99999999999999999999\n", "line 1"),
        ("<html>\n<body>\n", "line 1"),
        ("chr5\t1\n", "line 1"),
    ),
)
def test_bad_beds(tmp_path, text, said):
    (tmp_path / "a.bed").write_text(text)
    with pytest.raises(SystemExit, match=said):
        read_elements(tmp_path / "a.bed")


@pytest.mark.parametrize(
    "text, said",
    (
        ("chr21 500 743\nchr21   650 873\n", ""),
        ("track name=x\nbrowser position chr21\n#c\n\nchr21\t500\t743\nchr21\t650\t873\n", ""),
        ("chrom\tstart\tend\nchr21\t500\t743\r\nchr21\t650\t873\r\n", "taken for a header"),
        ("\ufeffchr21\t500\t743\nchr21\t600\t600\nchr21\t650\t873", "1 rows of no bases"),
    ),
)
@pytest.mark.parametrize("pack", (bytes, gzip.compress, bz2.compress), ids=("", "gzip", "bzip2"))
def test_beds_as_bed_allows(tmp_path, text, said, pack):
    (tmp_path / "a.bed").write_bytes(pack(text.encode()))  # whatever its name says
    lines = []
    elements = read_elements(tmp_path / "a.bed", lines)
    rows = zip(elements.chrom, elements.start, elements.end)
    assert list(rows) == [("chr21", 500, 743), ("chr21", 650, 873)]
    assert len(lines) == bool(said) and all(said in line for line in lines)


def test_long_elements_are_cut_to_their_middle_and_counted(tmp_path):
    (tmp_path / "a.bed").write_text("chr5\t500\t1143\nchr5\t0\t351\nchr5\t650\t873\n")
    lines = []
    elements = read_elements(tmp_path / "a.bed", lines)
    expected = [(646, 996), (0, 350), (650, 873)]
    assert list(zip(elements.start, elements.end)) == expected
    assert lines == ["2 elements of over 350 bases are cut to their middle 350"]


def test_classes_are_column_10_where_it_is_text(tmp_path):
    row = "chr5\t100\t300\tpeak\t0\t.\t5.2\t3.1\t2.0\t"
    (tmp_path / "a.bed").write_text(f"{row}66\n{row}dELS\n{row}-1\n{row}1e3\n")
    assert read_elements(tmp_path / "a.bed").kind.tolist() == ["", "dELS", "", ""]


def test_gzip_is_read_and_a_truncated_one_refused(tmp_path):
    text = ""
    for i in range(5000):
        start = i * 977 % 99991
        text += f"chr5\t{start}\t{start + 150 + i % 200}\n"
    packed = gzip.compress(text.encode())
    (tmp_path / "a.bed.gz").write_bytes(packed)
    assert len(read_elements(tmp_path / "a.bed.gz")) == 5000
    damages = {packed[: len(packed) // 2]: "truncated gzip", b"not a BED": "no elements"}
    for damaged, said in damages.items():
        (tmp_path / "a.bed.gz").write_bytes(damaged)
        with pytest.raises(SystemExit, match=said):
            read_elements(tmp_path / "a.bed.gz")
    with pytest.raises(SystemExit, match="is not there"):
        read_elements(tmp_path / "nothing.bed")


@pytest.mark.parametrize(
    "row, said",
    (
        ("chrQ\t100\t300\n", "no element"),
        ("chr1\t100\t300\n", "test chromosomes"),
        ("chr5\t8900\t9100\n", "beyond the end"),
        ("5\t88900\t89100\n", "genome's assembly"),
    ),
)
def test_beds_of_another_genome(world, tmp_path, row, said):
    bed = tmp_path / "a.bed"
    bed.write_text(row)
    with pytest.raises(SystemExit, match=said):
        choose(read_elements(bed), Genome(world[0] / "genome"), "test", bed)


def test_names_of_a_bed_are_the_genomes_by_any_naming_and_others_are_counted(world, tmp_path):
    genome = Genome(world[0] / "genome")
    elements = read_elements(world[0] / "genome" / "ccre.bed")
    pairs, _ = make_pairs(genome, elements)
    text = (world[0] / "genome" / "ccre.bed").read_text()
    for old, new in (("chr21\t", "NC_000021.9\t"), ("chr22\t", "22\t"), ("chr5\t", "CM000667.2\t")):
        text = text.replace(old, new)
    text += "scaffold_7\t100\t300\n" * 3
    (tmp_path / "a.bed").write_text(text)
    other = read_elements(tmp_path / "a.bed")
    other.flip[: len(elements)] = elements.flip  # drawn by the number of rows
    said = []
    rows = choose(other, genome, "test", "a.bed", said)
    assert sorted(set(other.chrom[rows["test"]])) == ["chr22", "chr5"]
    assert np.array_equal(make_pairs(genome, other[: len(elements)])[0], pairs)
    assert any("a.bed has 3 elements" in line and "scaffold_7" in line for line in said)
    assert any("22 is chr22" in line for line in said)


def test_the_hg38_list_is_for_hg38_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "DOWNLOADED", tmp_path / "there.bed.gz")
    (tmp_path / "there.bed.gz").write_bytes(b"")
    assert find_ccre(tmp_path) == tmp_path / "there.bed.gz"
    for assembly, said in (("mm39", "is mm39, not hg38"), ("", "is not known to be hg38")):
        with pytest.raises(SystemExit, match=said):
            find_ccre(tmp_path, assembly)


def test_a_chromosome_cut_between_splits_is_tested_on_its_own_part(tmp_path):
    rng = np.random.default_rng(0)
    letters = chromosome(rng, 9000)
    (tmp_path / "x.fa").write_text(f">phage\n{letters}\n")
    done = run("prepare_hg38.py", f"--fasta={tmp_path}/x.fa", f"--out={tmp_path}/genome")
    assert done.returncode == 0, done.stderr
    # the cut is at 8100: elements before it, on it and behind it
    rows = ["100\t300", "8000\t8200", "8050\t8250", "8300\t8500", "8600\t8700"]
    (tmp_path / "a.bed").write_text("".join(f"phage\t{row}\n" for row in rows))
    genome = Genome(tmp_path / "genome")
    found = choose(read_elements(tmp_path / "a.bed"), genome, "val")
    assert {part: list(rows) for part, rows in found.items()} == {"train": [0], "val": [3, 4]}


def test_the_default_bed_is_the_datasets_own(world):
    assert find_ccre(world[0] / "genome") == world[0] / "genome" / "ccre.bed"
