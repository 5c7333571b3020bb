"""DART-Eval Task 1: does a model prefer real regulatory DNA to the same DNA with its dinucleotides shuffled?

  python eval_dart.py --ckpt=out/ckpt.pt

Each regulatory element (cCRE) sits in a window of 350 bases; in its control the element is shuffled, so that each pair of
neighbours occurs as often as before. Zero-shot: the window must be the likelier. Probe: a small CNN tells them apart by the model's
frozen states. The protocol is that of Patel et al., NeurIPS 2024, arXiv:2412.05430; what differs is printed with the result.
"""
import gzip
import hashlib
import math
import os
import sys
import time
import zlib
from functools import partial
from json import dumps
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch loads: threads that wait leave their core to others

import numpy as np
import requests
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from config import configure, die, find_dataset
from data import N, Genome, reverse_complement
from data.download import download
from model import GPT, base_nll
from markov import Markov
from runtime.checkpoint import load_model
from runtime.device import pick_device

ckpt = "out/ckpt.pt"    # the model to evaluate
dataset = ""            # a prepared genome; "": the one that the checkpoint was trained on
ccre = ""               # a BED of elements; "": ccre.bed in the dataset's folder, else ENCODE's list, downloaded once
split = "test"          # whose DART-Eval chromosomes to test on: train | val | test
only = ""               # zero_shot | probe, to do one of the two
full = False            # the official size: all pairs, and a probe of 150 epochs over all of them; days without a large GPU
max_pairs = 0           # pairs scored, evenly spaced along the list; 0: all on a GPU (5,000 of them on both strands), 1,000 on a CPU
probe_pairs = 0         # pairs that the probe trains on; 0: 5,000 on a GPU, 1,000 on a CPU
probe_epochs = 20       # passes over them
layer = -1              # the probe reads the states after this many blocks; -1: after all of them, as the official one
pool = ""               # mean: a linear probe on states averaged over the window; "": the official CNN on the state at each base
probe_batch = 0         # pairs per step of the probe; 0: about 32 steps an epoch, of 16 to 2,048 pairs
probe_memory = 4.0      # GB to keep states in, as float32 or else as bfloat16; if they need more, each epoch computes them
markov_order = 12       # highest Markov order beside the model (less if 4^order exceeds the training bases); 0: the bigram alone
batch_size = 0          # windows at once through the model; 0: 128 on a GPU, 8 on a CPU, whose cache holds no more
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
# what the official FASTA has as N and UCSC's hg38 has not (1-based, inclusive): second copies of centromeric arrays, and chrY's PARs;
# from NCBI's unmasked_cognates_of_masked_CEN_PAR.txt, neighbours joined where only a gap of 100 is between them
MASKED = [("chr5", 47309185, 49591369), ("chr14", 16000001, 16022537), ("chr14", 16140628, 16400063), ("chr14", 16404449, 18173523),
          ("chr19", 24498981, 24891256), ("chr19", 24908690, 27190874), ("chr21", 10864561, 12915808), ("chr22", 12954789, 12986171),
          ("chr22", 12994028, 13011653), ("chr22", 13014131, 15054318), ("chrY", 10001, 2781479), ("chrY", 56887903, 57217415)]
PUBLISHED = {  # zero-shot, probe, paired probe
    "ab initio CNN": (None, .846, .932), "Nucl. Transformer v2 500M": (.745, .819, .917), "Mistral-DNA": (.863, .759, .859),
    "DNABERT-2": (.876, .847, .943), "HyenaDNA large-1m": (.891, .847, .935), "GENA-LM large": (.947, .887, .959),
    "Caduceus-PS 131k (*)": (.971, .726, .896), "Evo 2 7B (+)": (.976, None, None)}
FOOTNOTE = """published: Table 3 of arXiv:2412.05430v1 (from a third party's transcript), on ENCODE's 2,348,854 elements, one strand, float32; but for
the CNN, which has no pretraining, those models saw the test chromosomes in theirs, and so did Evo 2, whose row is no part of that table
(*) its probe saw two positions only, an artefact of the official script  (+) unofficial, read off a plot of the Evo 2 fork of DART-Eval"""
bar = partial(tqdm, leave=False, delay=1, mininterval=0.1 if sys.stderr.isatty() else 10)


def read_bed(path):
    """A BED file, plain or gzip -> record array (chrom, start, end, flip: read the other strand, kind); dies at a bad row."""
    rows, opener = [], gzip.open if str(path).endswith("gz") else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.isspace() or line.startswith(("#", "track ", "browser ")):
                    continue
                row = line.rstrip("\r\n").split("\t")
                start, end = map(int, row[1:3]) if len(row) > 2 and row[1].isdecimal() and row[2].isdecimal() else (0, 0)
                if not start < end <= start + WINDOW:
                    die(f"{path} line {number} is not name, tab, start, tab, end of 1 to {WINDOW} bases: {line[:60].strip()!r}")
                rows.append((row[0], start, end, False, row[9] if len(row) > 9 else ""))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        die(f"{path} is truncated or damaged ({error}): fetch it again")
    if not rows:
        die(f"{path} holds no elements: give --ccre=FILE, a BED of elements")
    elements = np.rec.array(rows, [("chrom", object), ("start", int), ("end", int), ("flip", bool), ("kind", object)])
    elements.flip = np.random.RandomState(0).randint(0, 2, len(rows)) == 0  # official: a draw for each row, before any is left out
    return elements


def find_ccre(folder):
    """The BED where none is named: the dataset's own, or ENCODE's list, downloaded once and checked."""
    path = Path(__file__).parent / "data" / "ccre" / "ENCFF420VPZ.bed.gz"
    for held in (folder / "ccre.bed", path):
        if held.is_file():
            return held
    try:
        md5 = requests.get(PORTAL, {"format": "json"}, headers={"Accept": "application/json"}, timeout=60).json()["md5sum"]
    except (requests.RequestException, ValueError, KeyError) as error:
        die(f"no answer from encodeproject.org ({type(error).__name__}): try again, or give --ccre=FILE, a BED of elements")
    download(PORTAL + "@@download/ENCFF420VPZ.bed.gz", path, md5)
    return path


def choose(elements, genome, split, path="the BED"):
    """{part: its rows of the BED} for train ... split, by DART-Eval's chromosomes; dies where BED and genome do not fit.

    By the genome's own split where it has none of them, or trains on some that DART-Eval selects or tests on.
    """
    ends = {name: chrom["length"] for name, chrom in genome.chroms.items()}
    for e in elements[elements.end > [ends.get(c, math.inf) for c in elements.chrom]]:
        die(f"{path}: {e.chrom}:{e.start}-{e.end} is beyond the end of {e.chrom}: give the BED of {genome.folder}'s assembly")
    parts = {part: [c for c in CHROMS[part] if c in ends] for part in list(CHROMS)[:list(CHROMS).index(split) + 1]}
    own = {part: [c["name"] for c in genome.meta["splits"][part]["chroms"]] for part in CHROMS}
    if not any(c in ends for names in CHROMS.values() for c in names) or own[split] and split != "train" and set(own["train"]) & set(parts[split]):
        parts = {part: own[part] for part in parts}
    rows = {part: np.flatnonzero([c in names for c in elements.chrom]) for part, names in parts.items()}
    if not len(rows[split]):
        die(f"{path} (on {elements.chrom[0]}, ...) has no element on {genome.folder}'s {split} chromosomes "
            f"({', '.join(parts[split]) or 'it has none'}): check for names without chr, or choose another --split, --ccre or --dataset")
    return rows


def spaced(rows, wanted):
    """At most `wanted` of the rows, evenly spaced."""
    return rows[np.arange(n := min(wanted, len(rows))) * len(rows) // max(n, 1)]


def shuffle_paths(windows, low, high, seeds):
    """The official dinucleotide shuffle of B windows at once -> (B, L) positions at which a window reads as its control.

    windows: (B, L), no N within the elements [low, high), (B,) each; seeds: B arrays of four uint32. The list of the places that
    follow a base is permuted, all but its last, for A, C, G, T in turn; a walk from the start takes each list in order. Flanks
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


def begins(elements):
    """Where the windows of elements start, (M,); below 0 for those that hang over their chromosome's start."""
    return elements.start - (WINDOW - (elements.end - elements.start)) // 2


def unmasked(genome, elements):
    """How many windows hold bases of hg38 where the official FASTA has N."""
    start, hit = begins(elements), np.zeros(len(elements), bool)
    for chrom, a, b in MASKED:
        for i in np.flatnonzero((elements.chrom == chrom) & (start < b) & (start + WINDOW >= a)):
            hit[i] = (genome.fetch(chrom, max(start[i], a - 1), min(start[i] + WINDOW, b)) & 7 != N).any()
    return int(hit.sum())


def make_pairs(genome, elements, chunk=1024):
    """((M, 2, 350) uint8 bases 0..3, each window and its control as scored; how many windows hold N or pass a chromosome's end)."""
    pairs, holes, at = np.empty((len(elements), 2, WINDOW), np.uint8), 0, np.arange(WINDOW)
    for i in bar(range(0, len(pairs), chunk), "pairs"):
        e = elements[i:i + chunk]
        start = begins(e)
        low, high = e.start - start, e.end - start
        window = np.stack([genome.fetch(c, a, a + WINDOW) for c, a in zip(e.chrom, start.tolist())]) & 7
        filled = np.where((window == N) & (at >= low[:, None]) & (at < high[:, None]), 0, window)  # the shuffle makes N an A
        text = (repr((0, *row)).encode() for row in zip(e.chrom, e.start.tolist(), e.end.tolist()))
        seeds = [np.frombuffer(hashlib.sha256(t).digest()[:15:-1], "<u4") for t in text]  # the hash modulo 2^128
        both = np.stack((window, np.take_along_axis(filled, shuffle_paths(filled, low, high, seeds), 1)), 1)
        both[e.flip] = reverse_complement(both[e.flip])
        pairs[i:i + chunk] = np.where(both == N, 0, both)  # N is scored as A, whichever the strand
        holes += int((window == N).any(1).sum())
    return pairs, holes


@torch.inference_mode()
def score(model, bases, batch_size=128, name="score", device="cpu"):
    """(..., T) uint8 bases -> (...) float64 nats: log-probability, given the start symbol, of all but the first (the official score)."""
    pieces = bar(torch.from_numpy(np.ascontiguousarray(bases)).flatten(0, -2).split(batch_size), name)
    nats = [base_nll(model, piece.to(device).long())[:, 1:].cpu().double().sum(1) for piece in pieces]
    return -torch.cat(nats).numpy().reshape(bases.shape[:-1])


def rate(margin, tie=TIE):
    """Accuracy over margins, where a tie counts as wrong, with its 95 % interval (Wilson's score)."""
    n, p = len(margin), float((margin > tie).mean())
    q = 1.959964 ** 2 / n
    middle, half = (p + q / 2) / (1 + q), math.sqrt(q * p * (1 - p) + q * q / 4) / (1 + q)
    return {"pairs": n, "accuracy": p, "low": max(0.0, middle - half), "high": min(1.0, middle + half),
            "ties": int((abs(margin) <= tie).sum()), "median": float(np.median(margin))}


@torch.no_grad()
def states(model, bases, device="cpu", pool="", **which):
    """(B, T) uint8 bases -> (B, T, C) fp32, the state at each base, which has read it; without a model: the bases, one-hot.

    which: layer=K for the states of a GPT after K blocks. pool="mean": their mean over the bases, (B, C).
    """
    bases = torch.from_numpy(bases).to(device).long()
    x = F.one_hot(bases, 4) if model is None else model.states(F.pad(bases, (1, 0), value=N), **which)[:, 1:]
    return x.float().mean(1) if pool else x.float()


class CNN(nn.Module):
    """The official probe: (B, T, C) states -> (B, 2) logits of control and real; 32 C + 16,546 weights."""

    def __init__(self, C):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv1d(C, 32, 1, padding=1), nn.ReLU(), nn.Conv1d(32, 32, 8, padding=1), nn.ReLU(),
                                   nn.Conv1d(32, 32, 8, padding=1), nn.ReLU())
        self.out = nn.Linear(32, 2)

    def forward(self, x):
        return self.out(self.convs(x.mT).sum(2))


class AbInitio(nn.Module):
    """The official network that has no model before it: (B, T, 4) one-hot bases -> (B, 2) logits; 67,840 weights for T = 350."""

    def __init__(self, C=4, T=WINDOW):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(T, 1))
        self.motifs, self.placed, self.probe = nn.Conv1d(C, 256, 41, padding="same"), nn.Linear(1, 256), CNN(256)

    def forward(self, x):
        return self.probe(F.relu(self.motifs(x.mT).mT + self.placed(self.place)))


def linear(C):
    """A linear probe: (B, C) pooled states, each channel standardised -> (B, 2) logits."""
    return nn.Sequential(nn.BatchNorm1d(C, affine=False), nn.Linear(C, 2))


def train_probe(embed, pairs, folds, make=CNN, lr=2e-3, epochs=20, batch=64, shuffle=True, memory=4.0, chunk=64, seed=0, name="probe", device="cpu"):
    """Train make(C) on embed(bases) of pairs, (M, 2, T) -> (M, 2) logit margins, real minus control; nan where not tested.

    folds: [(train, val, test) rows of pairs, ...]. Loss: cross-entropy of the windows plus that of the controls; the epoch of
    least loss on val is kept. memory: GB in which states may be kept; if they need more, they are computed each time.
    """
    def compute(rows):
        return torch.cat([embed(pairs[part].reshape(-1, pairs.shape[2])) for part in cut(rows, chunk)]).unflatten(0, (-1, 2))

    def run(rows, grad=False):  # -> (loss, margins)
        with torch.set_grad_enabled(grad):
            logits = net.train(grad)((kept[rows] if fits else compute(rows)).to(device).float().flatten(0, 1))
            loss = 2 * F.cross_entropy(logits, torch.tensor((1, 0), device=device).repeat(len(rows)))
        return loss, (logits[:, 1] - logits[:, 0]).detach().unflatten(0, (-1, 2)).cpu().numpy()

    cut = lambda rows, size: np.split(rows, range(size, len(rows), size))
    rng, out, shape = np.random.default_rng(seed), np.full(pairs.shape[:2], np.nan), compute(np.arange(1)).shape[1:]
    fits = next((kind for kind in (torch.float32, torch.bfloat16) if len(pairs) * shape.numel() * kind.itemsize <= memory * 1e9), None)
    if fits:
        kept = torch.empty(len(pairs), *shape, dtype=fits)
        for rows in bar(cut(np.arange(len(pairs)), chunk), f"{name}: states"):
            kept[rows] = compute(rows).to("cpu", fits)
    for train, val, test in folds:
        torch.manual_seed(seed)
        net, best = make(shape[-1]).to(device), (math.inf, None)
        optimizer = torch.optim.Adam(net.parameters(), lr)
        for _ in bar(range(epochs), f"{name}: epochs"):
            for rows in cut(rng.permutation(train) if shuffle else train, batch):
                optimizer.zero_grad()
                run(rows, True)[0].backward()
                optimizer.step()
            loss = sum(run(rows)[0].item() * len(rows) for rows in cut(val, chunk)) / len(val)
            if loss < best[0]:
                best = loss, {k: v.clone() for k, v in net.state_dict().items()}
        net.load_state_dict(best[1] or net.state_dict())
        for rows in cut(test, chunk):
            out[rows] = run(rows)[1]
    return out


def probe_metrics(margin, tie=0):
    """Metrics of (M, 2) margins, windows and controls; equal ones are half a win for AUROC and one threshold for AUPRC."""
    M, (tp, fp) = len(margin), (margin > 0).sum(0).tolist()
    _, group, size = np.unique(-margin.T.ravel(), return_inverse=True, return_counts=True)  # from the highest
    hits = np.bincount(group[:M], minlength=len(size))
    bottom, paired = math.sqrt((tp + fp) * (2 * M - tp - fp)), rate(margin[:, 0] - margin[:, 1], tie)
    return {"pairs": M, "paired": paired["accuracy"], "low": paired["low"], "high": paired["high"], "ties": paired["ties"],
            "accuracy": (tp + M - fp) / (2 * M), "mcc": (tp - fp) / bottom if bottom else 0.0,
            "auroc": float((hits * (M - np.cumsum(size - hits) + (size - hits) / 2)).sum() / M ** 2),
            "auprc": float((hits * np.cumsum(hits) / np.cumsum(size)).sum() / M)}


def make_folds(elements, rows, tested, wanted):
    """(rows for the probe, folds of them, which kind): the official split, or by chromosome where that leaves too few elements."""
    tested = spaced(tested, wanted)
    if len(rows) == 3 and min(len(rows["train"]), len(rows["val"])) >= FEW:
        parts = spaced(rows["train"], wanted), spaced(rows["val"], wanted // 4 + 1), tested
        ends = np.cumsum([len(part) for part in parts])
        return np.concatenate(parts), [np.split(np.arange(ends[-1]), ends[:-1])], "official split"
    # up to five groups of chromosomes: each is tested in turn, the next selects, the others train; no folds below three
    chosen = np.concatenate((tested, spaced(np.setdiff1d(np.concatenate(list(rows.values())), tested), wanted)))
    names, counts = np.unique(elements.chrom[chosen].astype(str), return_counts=True)
    group = {name: i % 5 for i, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    G, g, test = min(5, len(names)), np.array([group[c] for c in elements.chrom[chosen]]), np.arange(len(chosen)) < len(tested)
    folds = [((g != f) & (g != (f + 1) % G), g == (f + 1) % G, test & (g == f)) for f in range(G) if G > 2]
    return chosen, [tuple(map(np.flatnonzero, fold)) for fold in folds if fold[2].any()], "cross-validated by chromosome"


if __name__ == "__main__":
    run = configure(globals())
    for key, allowed in (("split", list(CHROMS)), ("only", ["", "zero_shot", "probe"]), ("pool", ["", "mean"])):
        if run[key] not in allowed:
            die(f"{key} = {run[key]!r}: give one of {', '.join(map(repr, allowed))}")
    for key in ("max_pairs", "probe_pairs", "probe_epochs", "probe_batch", "markov_order", "batch_size", "seed"):
        if run[key] < (low := key == "probe_epochs"):
            die(f"{key} = {run[key]}: give at least {low:d}")
    if json and not Path(json).absolute().parent.is_dir():
        die(f"{json}: no such folder: make it first")
    device, dtype, _ = pick_device(device, dtype)
    batch_size = batch_size or (8 if device.type == "cpu" else 128)
    torch.set_float32_matmul_precision("highest")  # float32 means it
    torch.backends.cudnn.allow_tf32 = False  # in the probes' convolutions too
    model, checkpoint = load_model(ckpt, device)
    if not -1 <= layer <= model.config.n_layer:
        die(f"layer = {layer}: give 0 to {model.config.n_layer} for {ckpt}, or -1 for the last")
    if model.config.block_size <= WINDOW:
        die(f"{ckpt} has a context of {model.config.block_size}: a window and its start symbol take {WINDOW + 1}")

    # ---- the pairs, and what to know about them
    genome = Genome(find_dataset(dataset or checkpoint["config"].get("dataset", "")))
    elements = read_bed(path := ccre or find_ccre(genome.folder))
    rows, many = choose(elements, genome, split, path), len(elements) if full else 5_000 if device.type == "cuda" else 1_000
    tested = spaced(rows[split], max_pairs or (len(elements) if device.type == "cuda" else many))
    used, folds, how = make_folds(elements, rows, tested, probe_pairs or many)
    if not folds and only != "zero_shot":
        die("the probe needs elements on three chromosomes, to train, select and test: --only=zero_shot does without it")
    (pairs, holes), chosen = make_pairs(genome, elements[tested]), elements[tested]
    names, train = list(dict.fromkeys(chosen.chrom)), checkpoint["data"].get("train", ())
    picked = [c for c in names if c in checkpoint["data"].get("val", ())]
    notes = [f"elements: {path}, {len(elements):,} rows" + ", not the published list" * (len(elements) != OFFICIAL_ROWS),
             f"pairs: {len(pairs):,} of {len(rows[split]):,} on {split} chromosomes here ({', '.join(names)}); {holes:,} hold N or hang over "
             "an end, read as A" + f"; {unmasked(genome, chosen):,} hold bases where the official FASTA has N" * (genome.meta["assembly"] == "hg38"),
             f"pretraining saw {', '.join(c for c in names if c in train) or 'none'} of these chromosomes"
             + "; MIND: what follows is about DNA that it was trained on" * any(c in train for c in names)
             + f"; its best checkpoint was chosen on {', '.join(picked)}" * bool(picked),
             "this is" + " not" * (genome.fingerprint != checkpoint["data"].get("fingerprint")) + " the genome, and the split, that it was trained on",
             f"the model computes in {str(dtype)[6:]}" + " (official: float32)" * (dtype != torch.float32)]
    print("\n".join(notes), flush=True)
    some = spaced(np.arange(len(pairs)), 1_000)
    if dtype != torch.float32:
        if only != "probe":
            exact = -np.diff(score(model, pairs[some], batch_size, "float32", device))[:, 0]
        model.forward, model.states = (torch.autocast(device.type, dtype)(f) for f in (model.forward, model.states))  # the model, not the probe

    # ---- the results, written as they come
    results = {"settings": run, "step": checkpoint["step"], "notes": notes, "models": {}, "published": PUBLISHED, "footnote": FOOTNOTE}

    def record(name, what, result, began):
        result["seconds"] = round(time.perf_counter() - began, 1)
        results["models"].setdefault(name, {})[what] = result
        print(f"{name}: {what} {'(paired) ' * ('paired' in result)}{result.get('paired', result['accuracy']):.3f}, {result['seconds']} s", flush=True)
        if json:
            temporary = Path(f"{json}.tmp")  # a reader sees the whole file or none
            temporary.write_text(dumps(results, indent=1) + "\n", encoding="utf-8")
            temporary.replace(json)

    # ---- zero-shot: the Markov models, then ours
    order = max(1, min(markov_order, int(math.log(max(4, len(genome.bases("train"))), 4))))
    print(f"counting Markov models up to order {order} on {genome.folder}'s training bases ...", flush=True)
    markov = Markov(genome.bases("train"), order)
    if only != "probe":
        val = rows["val"] if split == "test" and len(rows["val"]) >= FEW else tested
        sample, by_order = make_pairs(genome, elements[spaced(val, 1_000)])[0], {1: 0.0}
        for markov.order in range(2, order + 1):
            by_order[markov.order] = rate(-np.diff(score(markov, sample, 512, f"Markov order {markov.order}"))[:, 0])["accuracy"]
        best = max(by_order, key=by_order.get)
        notes.append(f"Markov orders 1 to {order} on {len(sample):,} {'tested' if val is tested else 'val'} pairs, which choose the order: "
                     + " ".join(f"{a:.3f}" for a in by_order.values()))
        record("uniform", "zero_shot", rate(np.zeros(len(pairs))), time.perf_counter())
        twice = spaced(np.arange(len(pairs)), max(many, max_pairs))
        notes += [f"both strands: {len(twice):,} of the pairs"] * (len(twice) < len(pairs))
        models = {"bigram": (markov, "cpu", 1), f"Markov order {best}" if best > 1 else "bigram": (markov, "cpu", best)}
        for name, (scored, where, markov.order) in {**models, "this model": (model, device, 1)}.items():
            began = time.perf_counter()
            one, other = (-np.diff(score(scored, x, batch_size, name, where))[:, 0] for x in (pairs, reverse_complement(pairs[twice])))
            if scored is model and dtype != torch.float32:
                flips = int(((one[some] > TIE) != (exact > TIE)).sum())
                notes.append(f"{str(dtype)[6:]} changes the verdict on {flips} of {len(some):,} pairs against float32, and a pair's difference by "
                             f"{np.median(abs(one[some] - exact)):.2g} nats (median), {abs(one[some] - exact).max():.2g} at most")
            mean = (one[twice] + other) / 2
            both = lambda mask: dict(rate(one[mask]), both_strands=rate(mean[mask[twice]]) if mask[twice].any() else {})
            record(name, "zero_shot", dict(both(np.full(len(pairs), True)), by_class={k: both(chosen.kind == k) for k in sorted(set(chosen.kind) - {""})}), began)

    # ---- the probe
    if only != "zero_shot":
        sample, sizes = make_pairs(genome, elements[used])[0], [len(fold[0]) for fold in folds]
        epochs, batch = (150, 2048) if full else (probe_epochs, probe_batch or min(2048, max(16, sizes[0] // 32)))
        notes.append(f"probe: {how}, training on {sizes} pairs, {epochs} epochs, batches of {batch}" + ", shuffled (official: all "
                     "elements of the training chromosomes, 150 epochs, 2048, in order)" * (not full))
        notes += [f"the probe reads the states after {layer} of {model.config.n_layer} blocks (official: the last)"] * (layer >= 0)
        notes += ["the probe is linear, on the mean of the states over a window, standardised (official: a CNN on the state at each base)"] * bool(pool)
        read = 2 * WINDOW * np.array([len(sample), sum(epochs * (len(a) + len(b)) + len(c) for a, b, c in folds)])
        print("each probe reads {:.1e} bases if their states fit in probe_memory, {:.1e} if each epoch computes them".format(*read), flush=True)
        torch.manual_seed(seed)
        markov.order, untrained = 1, GPT(model.config).to(device).eval()
        models = {"one-hot": None, "bigram": markov, "untrained": untrained, "this model": model, "ab initio CNN": None}
        for name, scored in models.items():
            began, which = time.perf_counter(), {"layer": layer} if layer >= 0 and isinstance(scored, GPT) else {}
            make, lr = (AbInitio, 1e-3) if name == "ab initio CNN" else (linear if pool else CNN, 2e-3)
            embed = partial(states, scored, device="cpu" if scored is markov else device, pool=pool if make is linear else "", **which)
            margin = train_probe(embed, sample, folds, make, lr, epochs, batch, not full, probe_memory, -(-batch_size // 2), seed, name, device)
            record(name, "probe", probe_metrics(margin[~np.isnan(margin).any(1)], 1e-4 if make is linear else 0), began)  # rounding is no win

    # ---- the table
    span = lambda r, key="accuracy": f"{r[key]:.3f} ({r['low']:.3f}-{r['high']:.3f})" if r else "-"
    lines = [("DART-Eval Task 1", "zero-shot (95 %)", "ties", "both strands", "probe", "probe, paired", "AUROC")]
    for name, row in results["models"].items():
        z, p = row.get("zero_shot", {}), row.get("probe", {})
        lines.append((name, span(z), str(z.get("ties", "-")), span(z.get("both_strands")), span(p)[:5], span(p, "paired"),
                      f"{p['auroc']:.3f}" if p else "-"))
    lines += [("published", "zero-shot", "", "", "probe", "paired", "")]
    lines += [(name, *(f"{x:.3f}" if x else "-" for x in (z, 0, 0, p, paired, 0))) for name, (z, p, paired) in PUBLISHED.items()]
    print("", *notes[5:], "", *(f"{a:26}{b:21}{c:>7}  {d:21}{e:7}{f:21}{g}" for a, b, c, d, e, f, g in lines), FOOTNOTE, sep="\n")
