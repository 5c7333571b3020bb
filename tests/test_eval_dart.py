"""eval_dart.py: the pairs against the published vectors and a slow re-implementation, the score, the probe, and the script itself."""
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

import eval_dart as dart
from conftest import one_line_error, random_dna, run, write_genome
from data import Genome, decode, encode, reverse_complement
from model import GPT, GPTConfig, base_nll
from markov import Markov
from runtime.checkpoint import load_model, save_checkpoint
from tests.ablate import edited_copy
from tests.test_prepare import server  # a fixture: a web server with faults

COMPLEMENT = dict(zip("ACGTN", "TGCAN"))


# ---- an oracle: the protocol's text, one base at a time

def official_seed(chrom, start, end):
    return int(hashlib.sha256(repr((0, chrom, start, end)).encode()).hexdigest(), 16) % 2 ** 128


def slow_shuffle(element, rng):
    after = {base: [] for base in "ACGT"}
    for i in range(len(element) - 1):
        after[element[i]].append(i + 1)
    for base in "ACGT":
        if len(after[base]) > 1:
            order = rng.permutation(len(after[base]) - 1)
            after[base] = [after[base][k] for k in order] + after[base][-1:]
    at, out = 0, element[0]
    for _ in range(len(element) - 1):
        at = after[element[at]].pop(0)
        out += element[at]
    return out


def slow_pair(letters, chrom, start, end, flip):
    begin = start - (350 - (end - start)) // 2
    window = "".join(letters[i].upper() if 0 <= i < len(letters) else "N" for i in range(begin, begin + 350))
    window = "".join(c if c in "ACGT" else "N" for c in window)
    a, b = start - begin, end - begin
    shuffled = slow_shuffle(window[a:b].replace("N", "A"), np.random.default_rng(official_seed(chrom, start, end)))
    pair = window, window[:a] + shuffled + window[b:]
    if flip:
        pair = tuple("".join(COMPLEMENT[c] for c in reversed(s)) for s in pair)
    return [s.replace("N", "A") for s in pair]


def bed_text(rng, chroms, each, classes=("PLS", "dELS")):
    rows = []
    for name, letters in chroms.items():
        starts = sorted(rng.choice(np.arange(200, len(letters) - 600), each, replace=False).tolist())
        rows += [f"{name}\t{a}\t{a + int(rng.integers(150, 351))}\tE{i}\t0\t.\t{a}\t{a}\t0,0,0\t{classes[i % len(classes)]}\n" for i, a in enumerate(starts)]
    return "".join(rows)


def chromosome(rng, n):
    """Both cases, IUPAC codes, single N's and a gap."""
    letters = list(random_dna(rng, n))
    for i in rng.integers(0, n, 40):
        letters[i] = "NnRk"[i % 4]
    letters[n // 2:n // 2 + 90] = "N" * 90
    return "".join(letters)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder of a prepared genome with its ccre.bed, {chromosome: letters}, a checkpoint trained on nothing)."""
    folder, rng = tmp_path_factory.mktemp("dart"), np.random.default_rng(5)
    chroms = {name: chromosome(rng, 9000) for name in ("chr1", "chr2", "chr21", "chr5", "chr22")}
    split = lambda *names: {name: chroms[name] for name in names}
    write_genome(folder / "genome", {"train": split("chr1", "chr2"), "val": split("chr21"), "test": split("chr5", "chr22")})
    (folder / "genome" / "ccre.bed").write_text(bed_text(rng, chroms, 16))
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=352, n_layer=1, n_head=1, n_embd=16))
    for p in model.parameters():  # those that start at zero predict nothing
        nn.init.normal_(p, std=0.3)
    save_checkpoint(folder / "ckpt.pt", {"model": model.state_dict(), "model_args": dataclasses.asdict(model.config), "step": 7,
                    "config": {"dataset": str(folder / "genome")}, "data": {"train": ["chr1", "chr2", "chr5"], "val": [], "test": []}})
    return folder, chroms, model.eval()


# ---- the pairs

def test_published_seeds_and_draws():
    assert official_seed("chr5", 12345, 12678) == 0x81f8bbb807d019493b3dfe1a7079b4a9
    assert np.random.default_rng(official_seed("chr1", 300, 584)).permutation(8).tolist() == [7, 4, 0, 6, 1, 2, 5, 3]


@pytest.mark.parametrize("seed, expected", ((0, "ATTACGTCATGGTTTGCACGGCGACAACCA"), (1, "ACGCACACGCGGTTTAATGGTTCATGACCA"),
                                            (12345, "ACCGTTTATGGCACGTTCACGCAATGGACA")))
@pytest.mark.parametrize("flanks", ("", "GATTACA"))
def test_published_shuffles(seed, expected, flanks):
    window = encode(flanks + "ACGTTGCAACGGTCATTACGGCATTGACCA" + flanks)[None]
    low, words = np.array([len(flanks)]), np.array([seed, 0, 0, 0], np.uint32)
    path = dart.shuffle_paths(window, low, low + 30, [words])
    assert decode(window[0][path[0]]) == flanks + expected + flanks
    assert sorted(path[0]) == list(range(window.shape[1]))


def test_strand_flags_are_drawn_for_every_row(tmp_path):
    (tmp_path / "a.bed").write_text("# a comment draws nothing\n" + "".join(f"chr{i % 7}\t{i}\t{i + 150}\n" for i in range(100_000)))
    flip = dart.read_bed(tmp_path / "a.bed").flip
    assert "".join("FT"[f] for f in flip[:40].astype(int)) == "TFFTFFFFFFFTTFTTTTTFTFFTTFFFFTFTFTFFTFFT"
    assert flip.sum() == 49_937


def test_pairs_equal_a_slow_implementation(tmp_path):
    rng = np.random.default_rng(1)
    letters = chromosome(rng, 3000)
    genome = Genome(write_genome(tmp_path, {"train": {"chr5": letters}}))
    sizes = [1, 2, 3, 349, 350, 350, *rng.integers(1, 351, 294)]
    rows = [("chr5", a := int(rng.integers(0, 3000 - n)), a + int(n), bool(rng.integers(2)), "") for n in sizes]
    rows += [("chr5", 0, 150, False, ""), ("chr5", 2850, 3000, True, ""), ("chr5", 1500, 1590, True, "")]  # ends, and all N
    elements = np.rec.array(rows, [("chrom", object), ("start", int), ("end", int), ("flip", bool), ("kind", object)])
    pairs, holes = dart.make_pairs(genome, elements, chunk=100)
    expected = [slow_pair(letters, *row[:4]) for row in rows]
    assert [[decode(s) for s in pair] for pair in pairs] == expected
    padded = "N" * 350 + letters + "N" * 350
    windows = [padded[350 + b - (350 - e + b) // 2:][:350].upper() for _, b, e, *_ in rows]
    assert holes == sum(bool(set(w) - set("ACGT")) for w in windows) > 10


def test_controls_keep_what_they_must(world):
    folder, chroms, _ = world
    elements = dart.read_bed(folder / "genome" / "ccre.bed")
    elements.flip = False
    pairs, _ = dart.make_pairs(Genome(folder / "genome"), elements)
    for e, (seq, ctrl) in zip(elements, pairs):
        a = (350 - (e.end - e.start)) // 2
        b = a + e.end - e.start
        assert (seq[:a + 1] == ctrl[:a + 1]).all() and (seq[b - 1:] == ctrl[b - 1:]).all()
        assert (seq != ctrl).sum() > 50
        assert (np.bincount(seq[:-1] * 4 + seq[1:], minlength=16) == np.bincount(ctrl[:-1] * 4 + ctrl[1:], minlength=16)).all()


def test_what_the_official_fasta_masks_is_counted(tmp_path, monkeypatch):
    """A window counts if it reaches a base (1-based 2001 to 3000, of which 2501 to 2700 are N here too) by one at least."""
    letters = random_dna(np.random.default_rng(0), 4000)
    genome = Genome(write_genome(tmp_path, {"test": {"chr5": letters[:2500] + "N" * 200 + letters[2700:], "chr14": letters}}))
    monkeypatch.setattr(dart, "MASKED", [("chr5", 2001, 2510), ("chr5", 2691, 3000)])
    count = lambda chrom, start: dart.unmasked(genome, np.rec.array([(chrom, start, start + 350)], [("chrom", object), ("start", int), ("end", int)]))
    assert [count("chr5", a) for a in (1650, 1651, 2499, 2500, 2999, 3000)] == [0, 1, 1, 1, 1, 0]
    monkeypatch.setattr(dart, "MASKED", [("chr5", 2501, 2700)])
    assert count("chr5", 2400) == 0 and count("chr14", 2400) == 0
    monkeypatch.undo()
    assert all(0 < a < b for _, a, b in dart.MASKED) and sum(b - a + 1 for c, a, b in dart.MASKED if c == "chrY") == 2_771_479 + 329_513


def test_choose_takes_the_chromosomes_of_each_part(world, capsys):
    folder, *_ = world
    elements, genome = dart.read_bed(folder / "genome" / "ccre.bed"), Genome(folder / "genome")
    rows = dart.choose(elements, genome, "test")
    assert {part: sorted(set(elements.chrom[r])) for part, r in rows.items()} == {"train": ["chr1", "chr2"], "val": ["chr21"], "test": ["chr22", "chr5"]}
    assert list(dart.choose(elements, genome, "val")) == ["train", "val"]
    assert dart.spaced(np.arange(10), 4).tolist() == [0, 2, 5, 7] and dart.spaced(np.arange(3), 9).tolist() == [0, 1, 2]


@pytest.mark.parametrize("which", (0, 1, 2))
def test_a_genome_of_other_names_or_split_is_tested_on_its_own(tmp_path, which):
    rng = np.random.default_rng(0)
    names = [("s1", "s2", "s3"), ("chr5", "chr18", "chr19"), ("chr1", "chr6", "chr10")][which]  # the second trains on one of DART-Eval's test
    splits = {part: {name: chromosome(rng, 3000)} for part, name in zip(("train", "val", "test"), names)}
    (tmp_path / "a.bed").write_text(bed_text(rng, {**splits["train"], **splits["test"]}, 5))
    rows = dart.choose(dart.read_bed(tmp_path / "a.bed"), Genome(write_genome(tmp_path / "genome", splits)), "test")
    assert {part: list(found) for part, found in rows.items()} == {"train": [0, 1, 2, 3, 4], "val": [], "test": [5, 6, 7, 8, 9]}


def test_folds():
    chrom = np.array(["chr1"] * 300 + ["chr21"] * 120 + ["chr5"] * 50, object)
    elements = np.rec.array([(c, 0, 1, False, "") for c in chrom], [("chrom", object), ("start", int), ("end", int), ("flip", bool), ("kind", object)])
    rows = {"train": np.arange(300), "val": np.arange(300, 420), "test": np.arange(420, 470)}
    used, folds, how = dart.make_folds(elements, rows, rows["test"], 200)
    assert how == "official split" and [set(chrom[used[part]]) for part in folds[0]] == [{"chr1"}, {"chr21"}, {"chr5"}]
    assert [len(part) for part in folds[0]] == [200, 51, 50]
    few = dict(rows, val=rows["val"][:20])
    used, folds, how = dart.make_folds(elements, few, rows["test"], 1000)
    assert how.startswith("cross-validated") and len(folds) == 1
    train, val, test = (set(chrom[used[part]]) for part in folds[0])
    assert test == {"chr5"} and len(train) == len(val) == 1 and not train & val and "chr5" not in train | val
    two = {"train": rows["train"], "val": rows["val"][:0], "test": rows["test"]}
    assert dart.make_folds(elements, two, rows["test"], 1000)[1] == []


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
    expected = [[sum(log_p[a, b].item() for a, b in zip(s[:-1], s[1:])) for s in pair] for pair in bases.tolist()]
    assert dart.score(Table(), bases, batch_size=3) == pytest.approx(np.array(expected), abs=1e-4)


def test_the_bigram_ties_and_the_next_order_does_not(world):
    folder, *_ = world
    genome = Genome(folder / "genome")
    pairs, _ = dart.make_pairs(genome, dart.read_bed(folder / "genome" / "ccre.bed"))
    clean = pairs[[np.array_equal(*(np.bincount(s[:-1] * 4 + s[1:], minlength=16) for s in pair)) for pair in pairs]]
    markov = Markov(genome.bases("train"), 2)
    for order, ties in ((2, 0), (1, len(clean))):
        markov.order = order
        for strand in (clean, reverse_complement(clean)):
            result = dart.rate(-np.diff(dart.score(markov, strand))[:, 0])
            assert result["ties"] == ties and (result["accuracy"] == 0) == (order == 1)
    assert len(clean) > 40


def test_ties_count_as_wrong_and_the_interval_is_wilsons():
    result = dart.rate(np.array([5.0] * 8 + [0.0, 1e-4]))
    assert (result["accuracy"], result["ties"], result["pairs"]) == (0.8, 2, 10)
    assert (result["low"], result["high"]) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))  # textbook values
    assert dart.rate(np.ones(300))["low"] == pytest.approx(300 / (300 + 1.959964 ** 2), abs=1e-9)


# ---- the probe

def test_metrics_by_hand():
    result = dart.probe_metrics(np.array([[2.0, 1.0], [-1.0, -3.0], [1.0, 1.0], [3.0, -2.0]]))
    assert result["accuracy"] == 5 / 8 and result["paired"] == 3 / 4
    assert result["mcc"] == pytest.approx((3 * 2 - 2 * 1) / math.sqrt(5 * 4 * 4 * 3))
    assert result["auroc"] == 13 / 16  # 4 + 2 + 3 + 4 of 16, the two equal ones half each


def test_metrics_against_their_definitions():
    margin = np.random.default_rng(0).integers(-3, 4, (60, 2)) + np.array([0.5, 0.0])
    margin[:20] -= 0.5 * (margin[:20] % 1 > 0)
    real, control = margin.T
    result = dart.probe_metrics(margin)
    assert result["auroc"] == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a in real for b in control]))
    area, recall = 0.0, 0.0
    for threshold in sorted(set(margin.ravel()), reverse=True):
        hits, false = (real >= threshold).sum(), (control >= threshold).sum()
        area, recall = area + (hits / 60 - recall) * hits / (hits + false), hits / 60
    assert result["auprc"] == pytest.approx(area)
    said, truth = np.concatenate((real, control)) > 0, np.repeat((1, 0), 60)
    assert result["mcc"] == pytest.approx(np.corrcoef(said, truth)[0, 1])
    perfect = dart.probe_metrics(np.array([[1.0, -1.0]] * 5))
    assert {perfect[k] for k in ("accuracy", "paired", "auroc", "auprc", "mcc")} == {1.0}


def test_the_probe_has_the_official_size():
    assert [sum(p.numel() for p in dart.CNN(C).parameters()) for C in (128, 256, 768)] == [20_642, 24_738, 41_122]
    assert dart.CNN(4)(torch.zeros(3, 350, 4)).shape == (3, 2)
    assert sum(p.numel() for p in dart.AbInitio().parameters()) == 67_840 and dart.AbInitio()(torch.zeros(3, 350, 4)).shape == (3, 2)


def test_the_ab_initio_network_finds_a_motif():
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 4, (240, 2, 40)).astype(np.uint8)
    for row, at in zip(pairs[:, 0], rng.integers(0, 28, 240)):
        row[at:at + 12] = encode("TTGACGTCATAA")
    folds = [np.split(np.arange(240), (160, 200))]
    margin = dart.train_probe(lambda bases: dart.states(None, bases), pairs, folds, lambda C: dart.AbInitio(C, 40), 1e-3, epochs=12, batch=16)
    assert dart.probe_metrics(margin[200:])["paired"] > 0.9


@pytest.mark.parametrize("memory", (4.0, 0.0))
def test_the_probe_learns_what_is_there_and_nothing_else(memory):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 4, (240, 2, 60)).astype(np.uint8)
    for row, at in zip(pairs[:, 0], rng.integers(0, 40, 240)):
        row[at:at + 12] = encode("ACGTACGTACGT")
    folds = [np.split(np.arange(240), (160, 200))]
    embed = lambda bases: dart.states(None, bases)
    margin = dart.train_probe(embed, pairs, folds, epochs=12, batch=16, memory=memory)
    assert np.isnan(margin[:200]).all() and not np.isnan(margin[200:]).any()
    assert dart.probe_metrics(margin[200:])["paired"] > 0.9
    if memory:
        wrong = pairs.copy()
        wrong[160:200] = pairs[160:200, ::-1]  # the more it has learned, the worse it does here: an early epoch is kept
        early = dart.train_probe(embed, wrong, folds, epochs=12, batch=16)
        gap = [np.median(m[200:, 0] - m[200:, 1]) for m in (early, margin)]
        assert gap[0] < 0.3 * gap[1]
        blind = np.where(rng.random((240, 1, 1)) < 0.5, pairs, pairs[:, ::-1])  # which is which says nothing
        margin = dart.train_probe(embed, blind, folds, epochs=12, batch=16)
        assert 0.2 < dart.probe_metrics(margin[200:])["paired"] < 0.8


def test_states_are_those_at_each_base(world):
    model, bases = world[2], np.random.default_rng(0).integers(0, 4, (2, 350)).astype(np.uint8)
    states = dart.states(model, bases)
    assert states.shape == (2, 350, 16) and states.dtype == torch.float32
    changed = bases.copy()
    changed[:, 100] = (changed[:, 100] + 1) % 4
    same = (dart.states(model, changed) == states).all(2)
    assert same[:, :100].all() and not same[:, 100].any()  # the state at a base has read it
    logits = model.lm_head(states)[..., :4]
    nats = base_nll(model, torch.from_numpy(bases).long())
    assert -torch.log_softmax(logits, 2)[0, 9, bases[0, 10]].item() == pytest.approx(nats[0, 10].item(), abs=1e-5)
    assert (dart.states(None, bases).argmax(2).numpy() == bases).all()


def test_states_of_a_layer_and_pooled(world):
    model, bases = world[2], np.random.default_rng(0).integers(0, 4, (2, 350)).astype(np.uint8)
    last, first = dart.states(model, bases), dart.states(model, bases, layer=0)
    assert torch.equal(last, dart.states(model, bases, layer=1)) and not torch.allclose(last, first, atol=0.1)
    a, b = (np.argwhere(bases[0] == 2)[i, 0] for i in (0, 5))
    assert torch.allclose(first[0, a], first[0, b], atol=1e-5)  # before any block a state knows its base and no more
    assert not torch.allclose(last[0, a], last[0, b], atol=0.1)
    assert torch.equal(dart.states(model, bases, pool="mean"), last.mean(1))


def test_a_pooled_probe_sees_composition_and_the_shuffle_keeps_it(world):
    """Pairs with the same bases in another order are all ties; where one has more of a base, a linear probe says so."""
    genome, rng = Genome(world[0] / "genome"), np.random.default_rng(0)
    pairs, _ = dart.make_pairs(genome, dart.read_bed(world[0] / "genome" / "ccre.bed"))
    pairs = pairs[(np.sort(pairs[:, 0]) == np.sort(pairs[:, 1])).all(1)]  # those without N
    folds = [np.split(np.arange(len(pairs)), (len(pairs) // 2, len(pairs) * 3 // 4))]
    embed = lambda bases: dart.states(None, bases, pool="mean")
    margin = dart.train_probe(embed, pairs, folds, dart.linear, epochs=5, batch=8)[folds[0][2]]
    tied = dart.probe_metrics(margin, 1e-4)
    assert (tied["paired"], tied["ties"]) == (0, len(margin)) and len(margin) > 10
    richer = pairs.copy()
    richer[:, 0] = np.where(rng.random(richer[:, 0].shape) < 0.1, 2, richer[:, 0])
    margin = dart.train_probe(embed, richer, folds, dart.linear, epochs=20, batch=8)[folds[0][2]]
    assert dart.probe_metrics(margin, 1e-4)["paired"] == 1


# ---- the script

def test_the_script_end_to_end(world, tmp_path):
    folder, chroms, model = world
    done = run("eval_dart.py", "--ckpt", folder / "ckpt.pt", "--json", tmp_path / "r.json",
               "--device=cpu", "--dtype=float32", "--max_pairs=20", "--probe_epochs=2", "--markov_order=3")
    assert done.returncode == 0, done.stderr
    assert "20 of 32 on test chromosomes here (chr5, chr22)" in done.stdout and "pretraining saw chr5 of" in done.stdout
    assert "HyenaDNA" in done.stdout and "not the published list" in done.stdout and "cross-validated" in done.stdout
    elements = dart.read_bed(folder / "genome" / "ccre.bed")
    tested = dart.spaced(np.flatnonzero([c in ("chr5", "chr22") for c in elements.chrom]), 20)
    pairs, _ = dart.make_pairs(Genome(folder / "genome"), elements[tested])
    assert [[decode(x) for x in pair] for pair in pairs] == [slow_pair(chroms[e.chrom], e.chrom, int(e.start), int(e.end), e.flip) for e in elements[tested]]
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("HyenaDNA large-1m "))
    assert row[2:] == "0.891 - - 0.847 0.935 -".split()  # as in the paper's Table 3
    assert run("figures/dart.py", tmp_path / "r.json", tmp_path / "r.png").returncode == 0 and (tmp_path / "r.png").stat().st_size > 10_000
    results = json.loads((tmp_path / "r.json").read_text())
    models = results["models"]
    assert list(models) == ["uniform", "bigram", *(k for k in models if k.startswith("Markov order ")), "this model", "one-hot", "untrained", "ab initio CNN"]
    nats = [-np.diff(dart.score(model, x))[:, 0] for x in (pairs, reverse_complement(pairs))]
    zero = models["this model"]["zero_shot"]
    assert zero["accuracy"] == (nats[0] > 1e-3).mean() and zero["both_strands"]["accuracy"] == (sum(nats) > 2e-3).mean()
    assert sum(c["pairs"] for c in zero["by_class"].values()) == 20 and set(zero["by_class"]) == {"PLS", "dELS"}
    assert models["uniform"]["zero_shot"]["ties"] == 20 and models["uniform"]["zero_shot"]["accuracy"] == 0
    assert all(models[k]["probe"]["pairs"] == 20 for k in ("one-hot", "bigram", "untrained", "this model", "ab initio CNN"))


def test_a_gpu_scores_all_pairs_and_some_on_both_strands(world, tmp_path):
    edited_copy(tmp_path / "copy", [("eval_dart.py", '5_000 if device.type == "cuda"', '12 if device.type == "cpu"'),
                                    ("eval_dart.py", 'len(elements) if device.type == "cuda"', 'len(elements) if device.type == "cpu"')])
    words = ("--ckpt", world[0] / "ckpt.pt", "--only=zero_shot", "--device=cpu", "--dtype=float32", "--markov_order=2", "--json")
    done = [run("eval_dart.py", *words, tmp_path / "some.json", cwd=tmp_path / "copy"), run("eval_dart.py", *words, tmp_path / "all.json")]
    assert all(d.returncode == 0 for d in done) and "32 of 32 on" in done[0].stdout and "both strands: 12 of the pairs" in done[0].stdout, done[0].stderr
    some, every = (json.loads((tmp_path / f"{name}.json").read_text())["models"]["this model"]["zero_shot"] for name in ("some", "all"))
    assert some["accuracy"] == every["accuracy"] and (some["both_strands"]["pairs"], every["both_strands"]["pairs"]) == (12, 32)
    assert sum(c["both_strands"].get("pairs", 0) for c in some["by_class"].values()) == 12


def test_the_script_names_its_deviations(world, tmp_path):
    """bfloat16's flips are those of the scores themselves; an inner layer and a pooled probe say so, and shuffled pairs tie in them."""
    folder, _, model = world
    done = run("eval_dart.py", "--ckpt", folder / "ckpt.pt", "--json", tmp_path / "r.json", "--device=cpu", "--dtype=bfloat16",
               "--probe_epochs=1", "--markov_order=1", "--layer=0", "--pool=mean")
    assert done.returncode == 0, done.stderr
    assert "after 0 of 1 blocks (official: the last)" in done.stdout and "the probe is linear" in done.stdout
    genome, elements = Genome(folder / "genome"), dart.read_bed(folder / "genome" / "ccre.bed")
    pairs, _ = dart.make_pairs(genome, elements[dart.choose(elements, genome, "test")["test"]])
    exact = -np.diff(dart.score(model, pairs))[:, 0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = -np.diff(dart.score(model, pairs, 8))[:, 0]
    flips = ((exact > dart.TIE) != (rough > dart.TIE)).sum()
    results = json.loads((tmp_path / "r.json").read_text())
    assert f"bfloat16 changes the verdict on {flips} of 32 pairs" in done.stdout and abs(exact - rough).max() > 0.01
    assert results["models"]["this model"]["zero_shot"]["accuracy"] == (rough > dart.TIE).mean()
    assert results["models"]["bigram"]["probe"]["paired"] < 0.5  # but for pairs with N


def test_a_user_sees_one_line(world, tmp_path):
    folder, *_ = world
    (tmp_path / "a.bed").write_text("chr5\t100\t300\nchr5\t400\tx\n")
    one_line_error(run("eval_dart.py", f"--ckpt={folder / 'ckpt.pt'}", f"--ccre={tmp_path / 'a.bed'}", f"--json={tmp_path / 'r.json'}"), "line 2")
    assert not (tmp_path / "r.json").exists()
    one_line_error(run("eval_dart.py", f"--ckpt={folder / 'ckpt.pt'}", "--ccre=missing.bed"), "missing.bed")


def test_a_checkpoint_of_another_vocabulary(world, tmp_path, capsys):
    held = torch.load(world[0] / "ckpt.pt", map_location="cpu", weights_only=True)
    held["model"]["wte.weight"] = torch.zeros(6, 16)
    save_checkpoint(tmp_path / "six.pt", held)
    save_checkpoint(tmp_path / "nanogpt.pt", {"model": {}, "model_args": {"vocab_size": 50304}, "iter_num": 3})
    for name, said in (("six", r"another model .* wte.weight.*\[6, 16\]"), ("nanogpt", "checkpoint of something else: it has no config")):
        with pytest.raises(SystemExit, match=said) as error:
            load_model(tmp_path / f"{name}.pt")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("words, said", ((("--layer=2",), "layer = 2: give 0 to 1"), (("--pool=max",), "pool = 'max'"), (("--split=dev",), "split = 'dev'"),
                                         (("--only=zeroshot",), "only = 'zeroshot'.*zero_shot"), (("--probe_epochs=0",), "probe_epochs = 0: give at least 1"), (("--json=no/such/r.json",), "no such folder"),
                                         (("--split=val", "--ccre=chr5.bed"), "no element on"), (("--ccre=chr5.bed",), "three chromosomes"),
                                         (("--ckpt=short.pt",), "context of 350")))
def test_settings_that_cannot_be(world, tmp_path, monkeypatch, words, said):
    (tmp_path / "chr5.bed").write_text("chr5\t1000\t1300\n")
    short = GPT(GPTConfig(block_size=350, n_layer=1, n_head=1, n_embd=16))
    save_checkpoint(tmp_path / "short.pt", {"model": short.state_dict(), "model_args": dataclasses.asdict(short.config), "config": {}, "data": {}, "step": 0})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["eval_dart.py", f"--ckpt={world[0] / 'ckpt.pt'}", "--device=cpu", *words])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the script sets
    with pytest.raises(SystemExit, match=said) as error:
        runpy.run_path(dart.__file__, run_name="__main__")
    assert str(error.value).startswith("error: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("portal, sent, said", ((b'{"md5sum": "%s"}', b"half of", "came with md5"), (b"<html>", b"", "no answer from encodeproject.org"),
                                                (b"{}", b"", "no answer from encodeproject.org"), (None, b"", "no answer from encodeproject.org")))
def test_the_elements_are_downloaded_whole_or_not_at_all(server, tmp_path, monkeypatch, portal, sent, said):
    whole, path = gzip.compress(b"chr5\t100\t300\n"), "/@@download/ENCFF420VPZ.bed.gz"
    monkeypatch.setattr(dart, "PORTAL", server.url + "/")
    monkeypatch.setattr(dart, "__file__", str(tmp_path / "eval_dart.py"))
    if portal:
        server.files["/?format=json"] = portal.replace(b"%s", hashlib.md5(whole).hexdigest().encode())
    server.files[path] = whole[:len(whole) // 2] if sent else whole
    with pytest.raises(SystemExit, match=said) as error:
        dart.find_ccre(tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.rglob("*.bed.gz"))
    server.files.update({"/?format=json": b'{"md5sum": "%s"}' % hashlib.md5(whole).hexdigest().encode(), path: whole})
    assert len(dart.read_bed(dart.find_ccre(tmp_path))) == 1


@pytest.mark.parametrize("text, said", (
    ("", "no elements"), ("\n# nothing\n", "no elements"), ("chr5 100 300\n", "line 1"), ("chr5\t300\t300\n", "line 1"),
    ("chr5\t-5\t300\n", "line 1"), ("chr5\t0\t351\n", "350 bases"), ("<html>\n<body>\n", "line 1"), ("chr5\t1\n", "line 1")))
def test_bad_beds(tmp_path, text, said):
    (tmp_path / "a.bed").write_text(text)
    with pytest.raises(SystemExit, match=said):
        dart.read_bed(tmp_path / "a.bed")


def test_gzip_is_read_and_a_truncated_one_refused(tmp_path):
    packed = gzip.compress("".join(f"chr5\t{i * 977 % 99991}\t{i * 977 % 99991 + 150 + i % 200}\n" for i in range(5000)).encode())
    (tmp_path / "a.bed.gz").write_bytes(packed)
    assert len(dart.read_bed(tmp_path / "a.bed.gz")) == 5000
    for damaged in (packed[:len(packed) // 2], b"not gzip at all"):
        (tmp_path / "a.bed.gz").write_bytes(damaged)
        with pytest.raises(SystemExit, match="truncated or damaged"):
            dart.read_bed(tmp_path / "a.bed.gz")


@pytest.mark.parametrize("row, said", (("5\t100\t300\n", "without chr"), ("chrQ\t100\t300\n", "no element"), ("chr1\t100\t300\n", "test chromosomes"),
                                       ("chr5\t8900\t9100\n", "beyond the end"), ("chr5\t88900\t89100\n", "genome's assembly")))
def test_beds_of_another_genome(world, tmp_path, row, said):
    (tmp_path / "a.bed").write_text(row)
    with pytest.raises(SystemExit, match=said):
        dart.choose(dart.read_bed(tmp_path / "a.bed"), Genome(world[0] / "genome"), "test", tmp_path / "a.bed")


def test_the_default_bed_is_the_datasets_own(world):
    assert dart.find_ccre(world[0] / "genome") == world[0] / "genome" / "ccre.bed"
