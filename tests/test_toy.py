"""The toy genome: the same bytes from the same seed, the pieces of real DNA, and an oracle that
nothing beats.
"""

import gzip
import json
import math
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from data import MIN_GAP, REPEAT, N, toy
from markov import Markov
from model import base_nll

SCALE = 0.15


def make(folder, *args):
    command = [sys.executable, "-m", "data.toy", f"--out={folder}", f"--scale={SCALE}", *args]
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONHASHSEED": "random"}
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=env)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    made = make(folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def letters(folder):
    parts = gzip.decompress((folder / "toy.fa.gz").read_bytes()).decode().split(">")[1:]
    return {name: "".join(lines) for name, *lines in (part.split("\n") for part in parts)}


@pytest.fixture(scope="module")
def genome():
    return toy.generate(1, SCALE)


@pytest.fixture(scope="module")
def elements(folder):
    rows = [line.split("\t") for line in (folder / "ccre.bed").read_text().splitlines()]
    assert all(len(row) == 10 for row in rows) and len({row[3] for row in rows}) == len(rows)
    return [(row[0], int(row[1]), int(row[2]), row[9]) for row in rows]


def joined(genome, split):
    return [np.concatenate([genome[name][i] for name in toy.SPLITS[split]]) for i in (0, 1)]


def test_same_seed_same_bytes(folder, tmp_path):
    for args, same in ((["--seed=1"], True), (["--seed=2"], False)):
        assert make(tmp_path, *args).returncode == 0
        for name in ("toy.fa.gz", "ccre.bed", "oracle.json"):
            agree = (tmp_path / name).read_bytes() == (folder / name).read_bytes()
            assert agree is same, (name, args)


@pytest.mark.parametrize("wrong", ["--seed=-1", "--scale=0", "--sede=1"])
def test_wrong_settings_are_one_line(tmp_path, wrong):
    made = make(tmp_path / "new", wrong)
    assert made.returncode == 1
    assert made.stderr.startswith("error: ") and made.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_fasta_is_like_a_real_one(letters):
    assert list(letters) == [name for names in toy.SPLITS.values() for name in names]
    single = 0
    for text in letters.values():
        assert set(text) <= set("ACGTNacgt")
        unknown = []  # lengths of the runs of N
        for is_n, run in groupby(text, lambda c: c == "N"):
            if is_n:
                unknown.append(sum(1 for _ in run))
        assert text[:1000] == text[-1000:] == "N" * 1000
        assert sum(length >= MIN_GAP for length in unknown) > 2 and sum(unknown) < 0.1 * len(text)
        single += unknown.count(1)
        assert 0.3 < sum(map(str.islower, text)) / len(text) < 0.45
    assert single > 2


def test_elements_lie_where_the_bed_says(letters, elements):
    here = {name: [row for row in elements if row[0] == name] for name in letters}
    gc, cpg = {"PLS": [], "dELS": []}, {"PLS": [], "dELS": []}
    for name, rows in here.items():
        assert rows and all(before[2] < after[1] for before, after in zip(rows, rows[1:]))
        for _, start, end, kind in rows:
            text = letters[name][start:end]
            assert 150 <= end - start <= 350 and text.isupper() and "N" not in text
            assert 400 <= start and end <= len(letters[name]) - 400
            assert "N" * MIN_GAP not in letters[name][start - 400 : end + 400]
            gc[kind].append((text.count("G") + text.count("C")) / len(text))
            # not observed/expected: enough to compare
            cpg[kind].append(4 * text.count("CG") / len(text))
    assert len(gc["PLS"]) > len(gc["dELS"])
    assert np.mean(gc["PLS"]) > np.mean(gc["dELS"]) + 0.1
    assert np.mean(cpg["PLS"]) > 2 * np.mean(cpg["dELS"])


def test_sites_repeat_24_bases_on(letters, elements):
    """Inside elements, and there alone, a base is often the one 24 before it; any other distance
    shows chance.
    """

    def agreement(pieces, distance):
        return np.mean([a == b for text in pieces for a, b in zip(text, text[distance:])])

    inside = [letters[name][start:end] for name, start, end, _ in elements]
    before = [letters[name][start - 180 : start] for name, start, _, _ in elements]
    before = [text for text in before if text.isupper() and "N" not in text]
    # the last base that a site repeats is out of an order-12 model's sight
    assert toy.DISTANCE - toy.WIDTH + 1 > 12
    others = [agreement(inside, d) for d in range(16, 33) if d != toy.DISTANCE]
    assert agreement(inside, toy.DISTANCE) > max(others) + 0.05
    assert abs(agreement(before, toy.DISTANCE) - agreement(before, toy.DISTANCE - 3)) < 0.03


def test_background_is_the_same_on_both_strands_and_costs_its_entropy():
    """The oracle against a known answer: the entropy rate of each state's chain, from its
    stationary distribution.
    """
    tables = toy.library(np.random.default_rng(3)).tables
    assert np.allclose(tables.sum(-1), 1)
    for state, table in enumerate(tables):
        move, context = np.zeros((256, 256)), np.arange(256)
        for base in range(4):
            move[context, (context * 4 + base) % 256] = table[:, base]
        stationary = np.full(256, 1 / 256)
        for _ in range(100):
            stationary = stationary @ move
        five = (stationary[:, None] * table).reshape((4,) * 5)
        # P(5-mer) = P(its reverse complement)
        assert np.allclose(five, np.flip(five).transpose(), atol=1e-9)
        entropy = -(five * np.log2(table.reshape((4,) * 5))).sum()
        bases, bits = toy.background(np.random.default_rng(4), tables, np.full(400_000, state))
        assert abs(bits.mean() - entropy) < 0.005 and 1.7 < entropy < 2
        pairs = np.bincount(bases[:-1] * 4 + bases[1:], minlength=16) / len(bases)
        depletion = pairs[6] / (np.mean(bases == 1) * np.mean(bases == 2))
        if state == len(tables) - 1:  # islands
            assert depletion > 0.7
        else:
            assert depletion < 0.5


def test_copies_cost_their_entropy():
    bases, bits = toy.copy(np.random.default_rng(5), np.resize([0, 1, 2, 3], 200_000), 0.2)
    changed = bases != np.resize([0, 1, 2, 3], 200_000)
    assert abs(changed.mean() - 0.2) < 0.005 and set(bases.tolist()) == {0, 1, 2, 3}
    assert abs(bits.mean() - (-0.8 * math.log2(0.8) - 0.2 * math.log2(0.2 / 3))) < 0.01
    assert np.allclose(bits[~changed], -math.log2(0.8))
    assert np.allclose(bits[changed], -math.log2(0.2 / 3))


def test_oracle_json_says_what_the_bits_say(folder, genome):
    told = json.loads((folder / "oracle.json").read_text())
    assert "no model can reach" in told["about"]
    assert told["seed"] == 1 and list(told["chroms"]) == list(genome)
    for split in toy.SPLITS:
        bases, bits = joined(genome, split)
        assert (np.isnan(bits) == (bases & 7 == N)).all() and np.nanmin(bits) > 0
        known, masked = bases & 7 < N, bases & REPEAT > 0
        masks = {"all": known, "repeats": known & masked, "unique": known & ~masked}
        for key, mask in masks.items():
            assert told[split][key] == pytest.approx(np.mean(bits[mask]), abs=1e-5)
            assert told[split]["bases"][key] == mask.sum()
        assert 0.5 < told[split]["repeats"] < told[split]["all"] < told[split]["unique"] < 2
        of_chroms = [told["chroms"][name]["bases"]["all"] for name in toy.SPLITS[split]]
        assert sum(of_chroms) == told[split]["bases"]["all"]


def test_no_markov_model_reaches_the_oracle(genome):
    markov = Markov(joined(genome, "train")[0], 10)
    bases, bits = joined(genome, "val")
    whole = bases[: len(bases) // 500 * 500].reshape(-1, 500)
    rows = torch.tensor(whole & 7).long()
    best = math.inf
    for markov.order in range(1, 11):
        nll = base_nll(markov, rows)[rows < N].mean().item() / math.log(2)
        best = min(best, nll)
        if markov.order == 1:
            bigram = nll
    # something to learn, and room above what counting learns
    assert 0 < np.nanmean(bits) + 0.2 < best < bigram - 0.02
