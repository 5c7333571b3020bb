"""DART-Eval Task 1: does a model prefer real regulatory DNA to the same DNA with its dinucleotides shuffled?

  python eval_dart.py --ckpt=out/ckpt.pt

Each candidate cis-regulatory element (cCRE) sits in a window of 350 bases; in its control the element alone is shuffled, so that
each pair of neighbours occurs as often as before. Zero-shot: the window must be the likelier of the two. Probe: a small CNN
learns to tell them apart from the model's frozen states. Windows, strands, controls and chromosomes are those of Patel et al.,
"DART-Eval" (NeurIPS 2024, arXiv:2412.05430); whatever differs from that protocol is printed with the result.
"""
import gzip
import hashlib
import math
import os
import sys
import time
import zlib
from collections import Counter
from functools import partial
from json import dumps
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tqdm
from torch import nn

from config import configure, die, find_dataset
from data import N, Genome, decode, reverse_complement
from model import GPT, Markov, base_nll
from runtime import load_model, pick_device

ckpt = "out/ckpt.pt"    # the model to evaluate
dataset = ""            # a prepared genome; "": the one that the checkpoint was trained on
ccre = ""               # a BED of elements; "": ccre.bed in the dataset's folder, else ENCODE's list, downloaded once
split = "test"          # whose DART-Eval chromosomes to test on: train, val or test
only = ""               # zero_shot or probe, to do one of the two
full = False            # the official size: all pairs, and a probe of 150 epochs over all of them
max_pairs = 0           # pairs scored, evenly spaced along the list; 0: 20,000 on a GPU, 1,000 on a CPU
probe_pairs = 0         # pairs that the probe trains on; 0: 20,000 on a GPU, 1,000 on a CPU
probe_epochs = 20       # passes over them
probe_batch = 0         # pairs per step of the probe; 0: about 32 steps an epoch, of 16 to 2048 pairs
probe_memory = 4.0      # GB for the probe to keep states in, as bfloat16; if they need more, each epoch computes them
layer = 0               # the probe reads the states after this many blocks; 0: all
markov_order = 12       # highest order of Markov models (less where 4^order exceeds the training bases); 0: the bigram alone
batch_size = 128        # windows at once through the model
write_pairs = ""        # a TSV file for the pairs as scored
json = ""               # a file for the results, rewritten as each of them comes
device = "auto"         # auto | cuda | cpu | mps
dtype = "auto"          # float32 is the official one; auto: bfloat16 where the hardware multiplies it
seed = 0                # of the probe and of the untrained model; the pairs have the official seeds

WINDOW = 350
CHROMS = {"train": "1 2 3 4 7 8 9 11 12 13 15 16 17 19 X Y", "val": "6 21", "test": "5 10 14 18 20 22"}
CHROMS = {part: ["chr" + name for name in names.split()] for part, names in CHROMS.items()}
TIE = 1e-3   # nats: fp32 rounding makes about 1e-4 of equal sums, real differences are around 10
FEW = 100    # with fewer elements than this to train on, or to select on, the probe is cross-validated
PORTAL, OFFICIAL_ROWS = "https://www.encodeproject.org/files/ENCFF420VPZ/", 2_348_854
PUBLISHED = {  # the paper's Table 3: zero-shot, probe, paired probe; the last is no part of it
    "ab initio CNN": (None, .846, .932), "Nucl. Transformer v2 500M": (.745, .819, .917), "Mistral-DNA": (.863, .759, .859),
    "DNABERT-2": (.876, .847, .943), "HyenaDNA large-1m": (.891, .847, .935), "GENA-LM large": (.947, .887, .959),
    "Caduceus-PS 131k (*)": (.971, .726, .896), "Evo 2 7B (+)": (.976, None, None)}
FOOTNOTE = """published: on ENCODE's 2,348,854 elements, one strand, test chromosomes that those models were pretrained on
(*) its probe saw two positions only, an artefact of the official script  (+) unofficial, read off a plot"""

bar = partial(tqdm.tqdm, leave=False, delay=1)


def read_bed(path):
    """A BED file, plain or gzip -> record array (chrom, start, end, flip, kind) in its order; dies at a row that is no element.

    flip: whether the pair is read on the other strand, the official draws: one for every row, before any are left out.
    """
    rows = []
    try:
        with open(path, "rb") as file:
            opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.isspace() or line.startswith(("#", "track ", "browser ")):
                    continue
                row = line.rstrip("\r\n").split("\t")
                try:
                    start, end = int(row[1]), int(row[2])
                except (IndexError, ValueError):
                    die(f"{path} line {number} is no BED row (name, tab, start, tab, end): {line[:60].strip()!r}")
                if not 0 <= start < end <= start + WINDOW:
                    die(f"{path} line {number}: {row[0]}:{start}-{end} is no element of 1 to {WINDOW} bases: remove it")
                rows.append((sys.intern(row[0]), start, end, False, sys.intern(row[9] if len(row) > 9 else "")))
    except FileNotFoundError:
        die(f"no file {path}: give --ccre=FILE, a BED of elements")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        die(f"{path} is truncated or damaged ({error}): fetch it again")
    if not rows:
        die(f"{path} holds no elements: give --ccre=FILE, a BED of elements")
    elements = np.rec.array(rows, [("chrom", object), ("start", int), ("end", int), ("flip", bool), ("kind", object)])
    elements.flip = np.random.RandomState(0).randint(0, 2, len(rows)) == 0
    return elements


def find_ccre(folder):
    """The BED where none is named: the dataset's own, or ENCODE's list, downloaded once and checked."""
    path = Path(__file__).parent / "data" / "ccre" / "ENCFF420VPZ.bed.gz"
    if (folder / "ccre.bed").is_file():
        return folder / "ccre.bed"
    if not path.is_file():
        import requests
        from prepare_hg38 import download
        try:
            md5 = requests.get(PORTAL, {"format": "json"}, headers={"Accept": "application/json"}, timeout=60).json()["md5sum"]
        except (requests.RequestException, ValueError, KeyError) as error:
            die(f"no answer from encodeproject.org ({type(error).__name__}): try again, or give --ccre=FILE, a BED of elements")
        path.parent.mkdir(parents=True, exist_ok=True)
        download(PORTAL + "@@download/ENCFF420VPZ.bed.gz", path, md5=md5)
    return path


def choose(elements, genome, split, path="the BED"):
    """{part: its rows of the BED} for train ... split, by DART-Eval's chromosomes; dies where BED and genome do not fit."""
    here = np.array([c in genome.chroms for c in elements.chrom])
    if not here.any():
        name = elements.chrom[0]
        hint = "put chr before its names" if f"chr{name}" in genome.chroms else "give the BED of this genome"
        die(f"none of the chromosomes of {path} ({name}, ...) is in {genome.folder} ({', '.join(genome.chroms)}): {hint}")
    for e in elements[here][[e.end > genome.chroms[e.chrom]["length"] for e in elements[here]]]:
        die(f"{path}: {e.chrom}:{e.start}-{e.end} lies beyond the end of {e.chrom}: it is of another assembly than {genome.folder}")
    parts = list(CHROMS)[:list(CHROMS).index(split) + 1]
    rows = {part: np.flatnonzero(here & np.isin(elements.chrom.astype(str), CHROMS[part])) for part in parts}
    if not len(rows[split]):
        die(f"{path} has no element on the {split} chromosomes ({', '.join(CHROMS[split])}) that {genome.folder} holds "
            f"({', '.join(genome.chroms)}): choose another --split or --dataset")
    return rows


def spaced(rows, wanted):
    """At most `wanted` of the rows, evenly spaced."""
    wanted = min(wanted, len(rows))
    return rows[np.arange(wanted) * len(rows) // max(wanted, 1)]


def shuffle_paths(windows, low, high, seeds):
    """The official dinucleotide shuffle for B windows at once -> (B, L) positions at which a window reads as its control.

    windows: (B, L) bases, no N within the elements [low, high), (B,) each; seeds: B arrays of four uint32. For each base, the list of
    places that follow it is permuted, all but its last, for A, C, G, T in turn; a walk from the start uses each list in order. Flanks
    are two more letters, whose lists stay in order.
    """
    B, L = windows.shape
    at, each = np.arange(L), np.arange(B)
    letter = np.where(at < low[:, None], 5, np.where(at >= high[:, None], 4, windows)).astype(np.uint8)
    follow = np.argsort(letter[:, :-1], axis=1, kind="stable") + 1  # the lists, end to end
    counts = np.stack([(letter[:, :-1] == k).sum(1) for k in range(6)], 1)
    first = counts.cumsum(1) - counts
    counts[each, letter[each, high - 1]] -= high < L  # the step out of the element is no part of the shuffle
    for row, a, n, words in zip(follow, first.tolist(), counts.tolist(), seeds):
        rng = np.random.default_rng(words)
        for k in range(4):
            if n[k] > 2:
                rng.shuffle(row[a[k]:a[k] + n[k] - 1])
    letter, follow, unused = letter.ravel() + 6 * each.repeat(L), follow.ravel(), (first + each[:, None] * (L - 1)).ravel()
    path, here = np.zeros((L, B), np.int64), np.zeros(B, np.int64)
    for j in range(1, L):
        k = letter[each * L + here]
        path[j] = here = follow[unused[k]]
        unused[k] += 1
    return path.T


def make_pairs(genome, elements, chunk=1024):
    """((M, 2, 350) uint8 bases 0..3, each window and its control as scored; how many windows hold N or pass a chromosome's end)."""
    pairs, holes, at = np.empty((len(elements), 2, WINDOW), np.uint8), 0, np.arange(WINDOW)
    for i in bar(range(0, len(pairs), chunk), "pairs"):
        e = elements[i:i + chunk]
        low = (WINDOW - (e.end - e.start)) // 2
        high = low + e.end - e.start
        window = np.stack([genome.fetch(c, a, a + WINDOW) for c, a in zip(e.chrom, (e.start - low).tolist())]) & 7
        filled = np.where((window == N) & (at >= low[:, None]) & (at < high[:, None]), 0, window)  # the shuffle makes N an A
        text = (repr((0, *row)).encode() for row in zip(e.chrom, e.start.tolist(), e.end.tolist()))
        seeds = [np.frombuffer(hashlib.sha256(t).digest()[:15:-1], "<u4") for t in text]  # the hash modulo 2^128
        both = np.stack((window, np.take_along_axis(filled, shuffle_paths(filled, low, high, seeds), 1)), 1)
        both[e.flip] = reverse_complement(both[e.flip])
        pairs[i:i + chunk] = np.where(both == N, 0, both)  # N is scored as A, whichever the strand
        holes += int((window == N).any(1).sum())
    return pairs, holes


def save(path, lines):
    """Write a text file whole or not at all."""
    with open(f"{path}.tmp", "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    os.replace(f"{path}.tmp", path)


def pair_lines(elements, pairs):
    """The pairs as scored, as lines of a TSV under the official names of the columns."""
    yield "#chr\tinput_start\tccre_start\tccre_end\treverse_complement\tseq\tctrl"
    for e, (seq, ctrl) in zip(elements, pairs):
        yield "\t".join(map(str, (e.chrom, e.start - (WINDOW - e.end + e.start) // 2, e.start, e.end, e.flip, decode(seq), decode(ctrl))))


def place(model):
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@torch.inference_mode()
def score(model, bases, batch_size=128, name="score"):
    """(M, T) uint8 bases -> (M,) float64 nats: log-probability of all but the first base, given the start symbol and those before.

    The first base, which the official score leaves out, is the same in both members of a pair.
    """
    out = []
    for i in bar(range(0, len(bases), batch_size), name):
        nats = base_nll(model, torch.from_numpy(bases[i:i + batch_size]).to(place(model)).long())
        out.append(-nats[:, 1:].cpu().double().sum(1))
    return torch.cat(out).numpy()


def margins(model, pairs, batch_size=128, name="score"):
    """(M, 2, T) pairs -> (M,) float64: by how many nats the window is likelier than its control."""
    return -np.diff(score(model, pairs.reshape(-1, pairs.shape[-1]), batch_size, name).reshape(-1, 2))[:, 0]


def rate(margin, tie=TIE):
    """Accuracy over margins, where a tie counts as wrong, with its 95 % interval by Wilson's score."""
    n, z = len(margin), 1.959964
    p = float((margin > tie).mean())
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    return {"pairs": n, "accuracy": p, "low": max(0.0, centre - half), "high": min(1.0, centre + half),
            "ties": int((abs(margin) <= tie).sum()), "median": float(np.median(margin))}


class OneHot(nn.Module):
    """A model whose state at a base is that base."""

    def states(self, idx):
        return F.one_hot(idx, 5)[..., :4].float()


@torch.no_grad()
def states(model, bases, layer=0):
    """(B, T) bases -> (B, T, C) fp32, the state at each base, which it has read; no start symbol if the context has no room."""
    tokens = F.pad(torch.from_numpy(bases).to(place(model)).long(), (1, 0), value=N)
    if isinstance(model, GPT):
        return model.states(tokens[:, -model.config.block_size:], layer=layer or None)[:, -bases.shape[1]:].float()
    return model.states(tokens)[:, 1:].float()


class CNN(nn.Module):
    """The official probe: (B, T, C) states -> (B, 2) logits of control and real; 32 C + 16,546 weights."""

    def __init__(self, C):
        super().__init__()
        self.convs = nn.ModuleList((nn.Conv1d(C, 32, 1, padding=1), nn.Conv1d(32, 32, 8, padding=1), nn.Conv1d(32, 32, 8, padding=1)))
        self.out = nn.Linear(32, 2)

    def forward(self, x):
        x = x.mT
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.out(x.sum(2))


class AbInitio(nn.Module):
    """The benchmark's CNN on bases, without a language model: motifs of 41 bases and a learned position; 67,840 weights."""

    def __init__(self, C):
        super().__init__()
        self.motifs, self.position = nn.Conv1d(C, 256, 41, padding="same"), nn.Parameter(torch.randn(WINDOW, 1))
        self.spread, self.cnn = nn.Linear(1, 256), CNN(256)

    def forward(self, x):
        return self.cnn(F.relu(self.motifs(x.mT).mT + self.spread(self.position)))


def train_probe(model, head, pairs, folds, epochs=20, batch=64, lr=2e-3, shuffle=True, layer=0, memory=4.0, chunk=128, seed=0, name="probe"):
    """Train head(C) on the frozen states of pairs, (M, 2, T) uint8 -> (M, 2) margins, real minus control; nan where not tested.

    folds: [(train, val, test) rows of pairs, ...]. Adam on the official loss, cross-entropy of the windows plus that of the
    controls; the epoch with the least loss on val is kept. memory: GB in which states may be kept.
    """
    def compute(rows):
        flat = pairs[rows].reshape(-1, pairs.shape[2])
        return torch.cat([states(model, flat[i:i + chunk], layer) for i in range(0, len(flat), chunk)]).unflatten(0, (-1, 2))

    def run(rows):  # -> (loss, margins)
        logits = net((kept[rows].to(where).float() if fits else compute(rows)).flatten(0, 1))
        loss = 2 * F.cross_entropy(logits, torch.tensor((1, 0), device=where).repeat(len(rows)))
        return loss, (logits[:, 1] - logits[:, 0]).detach().unflatten(0, (-1, 2)).cpu().numpy()

    def cut(rows, size):
        return [rows[i:i + size] for i in range(0, len(rows), size)]

    rng, out, where, shape = np.random.default_rng(seed), np.full(pairs.shape[:2], np.nan), place(model), compute([0]).shape[1:]
    fits = 2 * len(pairs) * shape.numel() <= memory * 1e9
    if fits:
        kept = torch.empty(len(pairs), *shape, dtype=torch.bfloat16)
        for rows in bar(cut(np.arange(len(pairs)), chunk), f"{name}: states"):
            kept[rows] = compute(rows).to("cpu", torch.bfloat16)
    progress = bar(total=len(folds) * epochs, desc=f"{name}: probe", unit="epoch")
    for train, val, test in folds:
        torch.manual_seed(seed)
        net, best = head(shape[-1]).to(where), (math.inf, None)
        optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        for _ in range(epochs):
            for rows in cut(rng.permutation(train) if shuffle else train, batch):
                optimizer.zero_grad()
                run(rows)[0].backward()
                optimizer.step()
            with torch.no_grad():
                loss = sum(run(rows)[0].item() * len(rows) for rows in cut(val, chunk)) / len(val)
            if loss < best[0]:
                best = loss, {k: v.clone() for k, v in net.state_dict().items()}
            progress.update()
        net.load_state_dict(best[1] or net.state_dict())
        with torch.no_grad():
            for rows in cut(test, chunk):
                out[rows] = run(rows)[1]
    progress.close()
    return out


def probe_metrics(margin):
    """Metrics of (M, 2) margins, windows and controls; equal ones are half a win for AUROC, and one threshold for AUPRC."""
    M, truth = len(margin), np.repeat((1, 0), len(margin))
    _, group, size = np.unique(-margin.T.ravel(), return_inverse=True, return_counts=True)
    hits = np.bincount(group, truth)
    tp, fp = int((margin[:, 0] > 0).sum()), int((margin[:, 1] > 0).sum())
    bottom = math.sqrt((tp + fp) * (2 * M - tp - fp))
    paired = rate(margin[:, 0] - margin[:, 1], 0)
    return {"pairs": M, "accuracy": (tp + M - fp) / (2 * M), "paired": paired["accuracy"], "low": paired["low"], "high": paired["high"],
            "auroc": float((hits * (M - np.cumsum(size - hits) + (size - hits) / 2)).sum() / M ** 2),
            "auprc": float((hits * np.cumsum(hits) / np.cumsum(size)).sum() / M), "mcc": (tp - fp) / bottom if bottom else 0.0}


def make_folds(elements, rows, tested, wanted):
    """(rows for the probe, folds of them, which kind): the official split, or by chromosome where it leaves too few elements.

    By chromosome: of up to five groups of chromosomes, each that holds tested rows is held out in turn, the next one selects, the
    others train. No folds where there are fewer than three chromosomes.
    """
    if len(rows) == 3 and min(len(rows["train"]), len(rows["val"])) >= FEW:
        parts = spaced(rows["train"], wanted), spaced(rows["val"], wanted // 4), spaced(tested, wanted)
        ends = np.cumsum([len(part) for part in parts])
        return np.concatenate(parts), [np.split(np.arange(ends[-1]), ends[:-1])], "official split"
    chosen = np.concatenate((tested, spaced(np.setdiff1d(np.concatenate(list(rows.values())), tested), wanted)))
    sizes = Counter(elements.chrom[chosen])
    total, group = [0] * min(5, len(sizes)), {}
    for name, size in sizes.most_common():
        group[name] = total.index(min(total))
        total[group[name]] += size
    g, test, G = np.array([group[c] for c in elements.chrom[chosen]]), np.arange(len(chosen)) < len(tested), len(total)
    folds = [[np.flatnonzero(x) for x in ((g != f) & (g != (f + 1) % G), g == (f + 1) % G, (g == f) & test)] for f in range(G)]
    return chosen, [fold for fold in folds if len(fold[2])] if G > 2 else [], "cross-validated by chromosome"
