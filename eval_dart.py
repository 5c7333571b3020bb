"""DART-Eval Task 1: does a model prefer real regulatory DNA to the same DNA with its dinucleotides shuffled?

    python eval_dart.py --ckpt=out/ckpt.pt

Each candidate cis-regulatory element (cCRE) sits in a window of 350 bases; its control has the element alone shuffled so that
every pair of neighbours occurs as often as before. Zero-shot: the window must be the likelier of the two, no training. Probe: a
small CNN learns to tell them apart from the model's frozen states. Windows, strands, controls and chromosomes are those of Patel
et al., "DART-Eval" (NeurIPS 2024, arXiv:2412.05430); whatever differs from its protocol is printed with the result.
"""
import dataclasses
import gzip
import hashlib
import json
import math
import os
import time
import zlib
from collections import Counter, namedtuple
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from config import configure, die, find_dataset
from data import N, Genome, decode, reverse_complement
from model import GPT, Markov, base_nll
from runtime import load_model, pick_device

ckpt = "out/ckpt.pt"     # the model to evaluate
dataset = ""             # a prepared genome; "": the one that the checkpoint was trained on
ccre = ""                # a BED file of elements; "": the dataset's ccre.bed if it has one, else ENCODE's list, downloaded
split = "test"           # DART-Eval's chromosomes to evaluate on: train, val or test
only = ""                # zero_shot or probe: do one of the two
full = False             # the official size: all pairs, 150 epochs in batches of 2048; costs days without a large GPU
max_pairs = 0            # pairs scored, evenly spaced over the list; 0: 20,000 on a GPU, 1,000 on a CPU
probe_pairs = 0          # pairs to train the probe on, a quarter as many to select it; 0: 20,000 on a GPU, 1,000 on a CPU
probe_epochs = 20        # passes over them
probe_batch = 0          # pairs per step of the probe; 0: about 32 steps an epoch, between 16 and 2048 pairs
probe_memory = 4.0       # GB in which the probe may keep states, as bfloat16; beyond that it computes them each epoch
layer = 0                # the probe reads the states after this many blocks; 0: all of them
pool = ""                # mean: a linear probe on the mean state instead of the CNN
markov_order = 12        # highest Markov order beside the model (fewer where the training bases are few); 0: the bigram alone
batch_size = 128         # windows at once through the model
write_pairs = ""         # a TSV for the pairs as scored
json_file = ""           # (or --json) a file for the results; parts of it are there while it runs
device = "auto"          # cpu, cuda, mps
dtype = "auto"           # float32 is the official one; auto: bfloat16 where the hardware multiplies it
seed = 0                 # of the probe and of the untrained model; the pairs have their own, official seeds

WINDOW = 350
CHROMS = {"train": "1 2 3 4 7 8 9 11 12 13 15 16 17 19 X Y", "val": "6 21", "test": "5 10 14 18 20 22"}
CHROMS = {part: ["chr" + name for name in names.split()] for part, names in CHROMS.items()}
OFFICIAL_ROWS = 2_348_854   # of ENCODE's ENCFF420VPZ
PORTAL = "https://www.encodeproject.org/files/ENCFF420VPZ/"
TIE = 1e-3                  # nats: above what fp32 rounding makes of equal sums (about 1e-4), far below real differences (about 10)
FEW = 100                   # fewer elements than this to train or select on: cross-validate instead
PUBLISHED = {  # zero-shot, probe accuracy, paired probe accuracy: the paper's Table 3, but for the last
    "Caduceus-PS 131k (*)": (.971, .726, .896), "DNABERT-2 117M": (.876, .847, .943), "GENA-LM large": (.947, .887, .959),
    "HyenaDNA large-1m": (.891, .847, .935), "Mistral-DNA": (.863, .759, .859), "Nucl. Transformer v2 500M": (.745, .819, .917),
    "ab initio CNN": (None, .846, .932), "Evo 2 7B (+)": (.976, None, None)}
FOOTNOTES = """(*) its probe saw two positions only, an artefact of the official script; (+) unofficial, read off a plot of a fork's authors
published rows: all 2,348,854 ENCODE elements, test chromosomes, which those models saw in pretraining"""

Elements = namedtuple("Elements", "chrom start end flip kind")  # columns, one row an element; flip: read the other strand


def take(elements, rows):
    return Elements(*(column[rows] for column in elements))


def spaced(rows, wanted):
    """At most `wanted` of the rows, evenly spaced."""
    wanted = min(len(rows), wanted)
    return rows[np.arange(wanted) * len(rows) // max(wanted, 1)]


def read_bed(path):
    """Elements of a BED file, plain or gzip, in its order; dies at the first row that is not an element of 1 to 350 bases."""
    chrom, start, end, kind = [], [], [], []
    try:
        with open(path, "rb") as file:
            opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.isspace() or line.startswith(("#", "track ", "browser ")):
                    continue
                row = line.rstrip("\r\n").split("\t")
                try:
                    a, b = int(row[1]), int(row[2])
                except (IndexError, ValueError):
                    die(f"{path} line {number} is no BED row (name, tab, start, tab, end): {line[:60].strip()!r}")
                if not 0 <= a < b <= a + WINDOW:
                    die(f"{path} line {number}: {row[0]}:{a}-{b} is not an element of 1 to {WINDOW} bases: remove it")
                chrom.append(row[0])
                start.append(a)
                end.append(b)
                kind.append(row[9] if len(row) > 9 else "")
    except FileNotFoundError:
        die(f"no file {path}: give --ccre=FILE, a BED of elements")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        die(f"{path} is truncated or damaged ({error}): download it again")
    if not chrom:
        die(f"{path} holds no elements: give --ccre=FILE, a BED of elements")
    flip = np.random.RandomState(0).randint(0, 2, len(chrom)) == 0  # the official flags: drawn for every row, before any filter
    return Elements(np.array(chrom, object), np.array(start), np.array(end), flip, np.array(kind, object))


def find_ccre(folder):
    """The BED to use when none is named: the dataset's own, or ENCODE's list, downloaded once and checked."""
    if (folder / "ccre.bed").is_file():
        return folder / "ccre.bed"
    path = Path(__file__).parent / "data" / "ccre" / "ENCFF420VPZ.bed.gz"
    if not path.is_file():
        import requests
        from prepare_hg38 import download
        try:
            md5 = requests.get(PORTAL + "?format=json", headers={"Accept": "application/json"}, timeout=60).json()["md5sum"]
        except (requests.RequestException, ValueError, KeyError) as error:
            die(f"ENCODE's portal does not answer ({type(error).__name__}): try again, or give --ccre=FILE, a BED of elements")
        path.parent.mkdir(parents=True, exist_ok=True)
        download(PORTAL + "@@download/ENCFF420VPZ.bed.gz", path, md5=md5)
    return path


def choose(elements, genome, parts, path):
    """{part: rows of its DART-Eval chromosomes that the genome holds}; dies where the BED does not belong to the genome."""
    here = np.array([c in genome.chroms for c in elements.chrom])
    if not here.any():
        name = elements.chrom[0]
        hint = "its names lack 'chr': put it before each row" if f"chr{name}" in genome.chroms else "give the BED of this genome"
        die(f"none of the chromosomes of {path} ({name}, ...) is in {genome.folder} ({', '.join(genome.chroms)}): {hint}")
    length = np.array([genome.chroms[c]["length"] if h else 2 ** 62 for c, h in zip(elements.chrom, here)])
    off = np.flatnonzero(elements.end > length)
    if len(off):
        e = take(elements, off[0])
        die(f"{path}: {e.chrom}:{e.start}-{e.end} lies beyond the end of {e.chrom} ({length[off[0]]:,}): it is of another assembly")
    return {part: np.flatnonzero(here & np.array([c in CHROMS[part] for c in elements.chrom])) for part in parts}


def shuffle_paths(windows, low, high, seeds):
    """The official dinucleotide shuffle, for B elements at once: a walk over each window that takes every edge of the element.

    windows: (B, L) bases, N-free inside the elements [low, high), each (B,). seeds: B arrays of four uint32. Returns (B, L)
    positions: windows taken there are the controls. Each base has a list of the places that follow it; the lists are permuted, all
    but their last entries, for A, C, G, T in turn, then followed to the end. Flanks are lists of their own, left in order.
    """
    B, L = windows.shape
    at, every = np.arange(L), np.arange(B)
    key = np.where(at < low[:, None], 5, np.where(at >= high[:, None], 4, windows)).astype(np.uint8)
    follow = np.argsort(key[:, :-1], axis=1, kind="stable") + 1    # the lists end to end, A's first
    counts = np.stack([(key[:, :-1] == k).sum(1) for k in range(6)], 1)
    first = np.cumsum(counts, 1) - counts
    counts[every, key[every, high - 1]] -= high < L                # the way out of the element is no part of the shuffle
    for row, a, n, words in zip(follow, first.tolist(), counts.tolist(), seeds):
        rng = np.random.default_rng(words)
        for k in range(4):
            if n[k] > 2:
                rng.shuffle(row[a[k]:a[k] + n[k] - 1])
    path, here = np.zeros((L, B), np.int64), np.zeros(B, np.int64)
    key, follow, unused = key.ravel(), follow.ravel(), (first + every[:, None] * (L - 1)).ravel()
    for j in range(1, L):
        k = every * 6 + key[every * L + here]
        here = follow[unused[k]]
        unused[k] += 1
        path[j] = here
    return path.T


def make_pairs(genome, elements, chunk=1024):
    """(M, 2, 350) uint8 bases 0..3, each element's window and its control as scored, and how many windows hold N or pass an end."""
    pairs = np.empty((len(elements.start), 2, WINDOW), np.uint8)
    holes = 0
    for i in tqdm(range(0, len(pairs), chunk), "pairs", leave=False, delay=1, unit="k"):
        e = take(elements, slice(i, i + chunk))
        low = (WINDOW - (e.end - e.start)) // 2
        window = np.stack([genome.fetch(c, a, a + WINDOW) for c, a in zip(e.chrom, (e.start - low).tolist())]) & 7
        high, at = low + e.end - e.start, np.arange(WINDOW)
        filled = np.where((window == N) & (at >= low[:, None]) & (at < high[:, None]), 0, window)  # the shuffle takes N for A
        texts = (repr((0, *row)).encode() for row in zip(e.chrom, e.start.tolist(), e.end.tolist()))
        seeds = [np.frombuffer(hashlib.sha256(text).digest()[:15:-1], "<u4") for text in texts]
        control = np.take_along_axis(filled, shuffle_paths(filled, low, high, seeds), 1)
        both = np.stack((window, control), 1)
        both[e.flip] = reverse_complement(both[e.flip])
        holes += int((window == N).any(1).sum())
        pairs[i:i + chunk] = np.where(both == N, 0, both)  # the models of the benchmark read N as A, on either strand
    return pairs, holes


def save_pairs(path, elements, pairs):
    """The pairs as scored, one a row, under the official names of the columns."""
    begin = elements.start - (WINDOW - (elements.end - elements.start)) // 2
    with open(f"{path}.tmp", "w", encoding="ascii") as file:
        file.write("#chr\tinput_start\tccre_start\tccre_end\treverse_complement\tseq\tctrl\n")
        for chrom, a, b, c, flip, (seq, ctrl) in zip(elements.chrom, begin, elements.start, elements.end, elements.flip, pairs):
            file.write(f"{chrom}\t{a}\t{b}\t{c}\t{bool(flip)}\t{decode(seq)}\t{decode(ctrl)}\n")
    os.replace(f"{path}.tmp", path)


def place(model):
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@torch.inference_mode()
def score(model, bases, batch_size=128, name="score"):
    """(M, T) uint8 bases -> (M,) float64: log-probability in nats of bases 1 to T - 1 given those before and the start symbol.

    The first base is left out, as the official score does; it is the same in both members of a pair.
    """
    out = [torch.zeros(0, dtype=torch.float64)]
    for i in tqdm(range(0, len(bases), batch_size), name, leave=False, delay=1):
        piece = torch.from_numpy(bases[i:i + batch_size]).to(place(model)).long()
        out.append(-base_nll(model, piece)[:, 1:].cpu().double().sum(1))
    return torch.cat(out).numpy()


def margins(model, pairs, batch_size=128, name="score"):
    """(M, 2, T) pairs -> (M,) float64: by how many nats the model prefers the window to its control."""
    both = score(model, pairs.reshape(-1, pairs.shape[-1]), batch_size, name).reshape(-1, 2)
    return both[:, 0] - both[:, 1]


def wilson(k, n, z=1.959964):
    """The 95 % interval (low, high) of a proportion k / n, by Wilson's score."""
    p, centre = k / n, (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(margin, tie=TIE):
    """{pairs, accuracy, low, high, ties, median}: the share of margins above `tie`, so that a tie counts as wrong."""
    wins, n = int((margin > tie).sum()), len(margin)
    low, high = wilson(wins, n)
    return {"pairs": n, "accuracy": wins / n, "low": low, "high": high, "ties": int((abs(margin) <= tie).sum()),
            "median": float(np.median(margin))}


def by_class(margin, kind, tie=TIE):
    return {k: rate(margin[kind == k], tie) for k in sorted(set(kind) - {""})}


class OneHot(nn.Module):
    """A model whose state at a base is that base."""

    def states(self, idx):
        return F.one_hot(idx, 5)[..., :4].float()


@torch.inference_mode()
def states(model, bases, layer=0):
    """(B, 350) bases -> (B, 350, C) fp32 states, each at its own base, which it has read; a context of 350 does without the start symbol."""
    tokens = F.pad(torch.as_tensor(bases).to(place(model)).long(), (1, 0), value=N)
    if isinstance(model, GPT):
        return model.states(tokens[:, -model.config.block_size:], layer=layer or None)[:, -bases.shape[1]:].float()
    return model.states(tokens)[:, 1:].float()


class CNN(nn.Module):
    """The official probe: (B, T, C) states -> (B, 2) logits (control, real), with 32 C + 16,546 weights."""

    def __init__(self, C, hidden=32, kernel=8):
        super().__init__()
        self.convs = nn.ModuleList((nn.Conv1d(C, hidden, 1, padding=1), nn.Conv1d(hidden, hidden, kernel, padding=1),
                                    nn.Conv1d(hidden, hidden, kernel, padding=1)))
        self.out = nn.Linear(hidden, 2)

    def forward(self, x):
        x = x.mT
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.out(x.sum(2))


class AbInitio(nn.Module):
    """The benchmark's CNN without a language model (67,840 weights): motif detectors of 41 bases and a learned position, then the probe."""

    def __init__(self, C, width=256):
        super().__init__()
        self.motifs, self.position = nn.Conv1d(C, width, 41, padding="same"), nn.Parameter(torch.zeros(WINDOW, 1))
        self.spread, self.cnn = nn.Linear(1, width), CNN(width)

    def forward(self, x):
        return self.cnn(F.relu(self.motifs(x.mT).mT + self.spread(self.position)))


class MeanPool(nn.Linear):
    """A linear probe: (B, T, C) states -> (B, 2) logits of their mean."""

    def __init__(self, C):
        super().__init__(C, 2)

    def forward(self, x):
        return super().forward(x.mean(1))


def average_precision(score, truth):
    """Sum over thresholds of precision times the recall gained there; equal scores are one threshold."""
    _, group = np.unique(-score, return_inverse=True)
    hits, size = np.bincount(group, truth), np.bincount(group)
    return float((hits * np.cumsum(hits) / np.cumsum(size)).sum() / truth.sum())


def probe_metrics(margin):
    """Metrics of (M, 2) logit margins (real minus control) of windows and controls; equal margins are half a win for AUROC."""
    M, flat, truth = len(margin), margin.T.ravel(), np.repeat((1, 0), len(margin))
    _, group, size = np.unique(flat, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[group]
    tp, fp = int((margin[:, 0] > 0).sum()), int((margin[:, 1] > 0).sum())
    bottom = math.sqrt((tp + fp) * (2 * M - tp - fp)) * M
    paired = rate(margin[:, 0] - margin[:, 1], 0)
    return {"pairs": M, "accuracy": (tp + M - fp) / (2 * M), "paired": paired["accuracy"], "low": paired["low"], "high": paired["high"],
            "auroc": float((rank[:M].sum() - M * (M + 1) / 2) / M ** 2), "auprc": average_precision(flat, truth),
            "mcc": (tp * (M - fp) - fp * (M - tp)) / bottom if bottom else 0.0}


def train_probe(model, head, pairs, folds, epochs, batch, lr=2e-3, shuffle=True, layer=0, gigabytes=4.0, chunk=128, seed=0, name="probe"):
    """Train head(C) on the model's frozen states of pairs, (M, 2, T) uint8. folds: [(train, val, test) rows of pairs, ...].

    Adam; the loss is the official one, cross-entropy of the windows plus that of the controls; the epoch with the least loss on val
    is kept. Returns margins (M, 2), logit of real minus logit of control: nan where no fold tests.
    """
    rng, out, where = np.random.default_rng(seed), np.full(pairs.shape[:2], np.nan), place(model)

    def compute(rows):
        flat = pairs[rows].reshape(-1, pairs.shape[2])
        return torch.cat([states(model, flat[i:i + chunk], layer) for i in range(0, len(flat), chunk)]).unflatten(0, (-1, 2))

    def read(rows):
        return cache[rows].to(where).float() if fits else compute(rows)

    def run(rows):  # (loss, margins) of some pairs
        logits = net(read(rows).flatten(0, 1))
        truth = torch.tensor((1, 0), device=where).repeat(len(rows))
        return 2 * F.cross_entropy(logits, truth), (logits[:, 1] - logits[:, 0]).detach().unflatten(0, (-1, 2))

    def cut(rows, size):
        return [rows[i:i + size] for i in range(0, len(rows), size)]

    shape = compute(np.arange(1)).shape[1:]
    fits = 2 * len(pairs) * math.prod(shape) <= gigabytes * 1e9
    if fits:
        cache = torch.empty(len(pairs), *shape, dtype=torch.bfloat16)
        for rows in tqdm(cut(np.arange(len(pairs)), chunk), f"{name}: states", leave=False, delay=1):
            cache[rows] = compute(rows).to("cpu", torch.bfloat16)
    bar = tqdm(total=len(folds) * epochs, desc=name, leave=False, delay=1, unit="epoch")
    for train, val, test in folds:
        torch.manual_seed(seed)
        net, best = head(shape[-1]).to(where), (math.inf, None)
        optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        for _ in range(epochs):
            for rows in cut(rng.permutation(train) if shuffle else train, batch):
                optimizer.zero_grad(set_to_none=True)
                run(rows)[0].backward()
                optimizer.step()
            with torch.no_grad():
                loss = sum(run(rows)[0].item() * len(rows) for rows in cut(val, chunk)) / len(val)
            if loss < best[0]:
                best = loss, {k: v.clone() for k, v in net.state_dict().items()}
            bar.update()
        if best[1]:  # none where no loss was finite
            net.load_state_dict(best[1])
        with torch.no_grad():
            for rows in cut(test, chunk):
                out[rows] = run(rows)[1].cpu().numpy()
    bar.close()
    return out


def make_folds(elements, rows, tested, wanted, few=FEW):
    """(rows for the probe, folds into them, how): the official split, or by chromosome where that leaves too few elements.

    rows: {part: rows}, the last part the one tested. Cross-validation holds out one group of chromosomes at a time, selects on
    the next group, trains on the others, and tests what is in `tested`; no folds if there are fewer than three chromosomes.
    """
    if "val" in rows and "test" in rows and min(len(rows["train"]), len(rows["val"])) >= few:
        parts = spaced(rows["train"], wanted), spaced(rows["val"], wanted // 4), tested
        edges = np.cumsum([len(part) for part in parts])
        return np.concatenate(parts), [np.split(np.arange(edges[-1]), edges[:-1])], "the official split"
    others = np.setdiff1d(np.concatenate(list(rows.values())), tested)
    chosen = np.concatenate((tested, spaced(others, wanted)))
    sizes = Counter(elements.chrom[chosen]).most_common()
    total = [0] * min(5, len(sizes))
    group = {}
    for name, size in sizes:  # the largest first, each to the group that has least
        group[name] = total.index(min(total))
        total[group[name]] += size
    g, test = np.array([group[c] for c in elements.chrom[chosen]]), np.arange(len(chosen)) < len(tested)
    folds = [(np.flatnonzero((g != f) & (g != (f + 1) % len(total))), np.flatnonzero(g == (f + 1) % len(total)),
              np.flatnonzero((g == f) & test)) for f in range(len(total)) if (test & (g == f)).any()]
    return chosen, folds if len(total) > 2 else [], f"cross-validated by chromosome, {len(folds)} folds"


def table(rows, published):
    """The results as lines of text. rows: {model: {"zero_shot": ..., "probe": ...}}."""
    span = lambda r, key: f"{r[key]:.3f} ({r['low']:.3f}-{r['high']:.3f})" if r else "-"
    lines = [("", "zero-shot", "ties", "both strands", "probe", "probe, paired", "AUROC")]
    for name, row in rows.items():
        z, p = row.get("zero_shot", {}), row.get("probe", {})
        lines.append((name, span(z, "accuracy"), f"{z['ties']:,}" if z else "-", span(z.get("both_strands"), "accuracy"),
                      f"{p['accuracy']:.3f}" if p else "-", span(p, "paired"), f"{p['auroc']:.3f}" if p else "-"))
    for name, (zero, probe, paired) in PUBLISHED.items() if published else ():
        lines.append((name, *(f"{x:.3f}" if x else "-" for x in (zero, None, None, probe, paired, None))))
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths)).rstrip() for line in lines)
