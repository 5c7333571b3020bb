"""Draw where along the genome a model's loss falls towards zero, and what that does to batches read in the genome's order.

  python figures/positions.py figures/positions.png out-demo/ckpt.pt out-pieces/ckpt.pt

One row a checkpoint, on its own validation bases (about a million): the cost of each base around the longest tandem repeat, and the mean cost of
batches of 16 windows, in the genome's order and shuffled. A tandem repeat here: bases that equal those `period` before
them, for at least 24 bases and two periods. Prints the table that belongs to it.
"""
import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from config import find_dataset
from data import N, REPEAT, Genome
from model import base_nll
from runtime.checkpoint import load_model
from runtime.device import pick_device

BASES, BATCH, SMOOTH, AROUND = 2**20, 16, 31, 2000


def tandem(bases, periods=range(1, 61)):
    """(n,) bases -> (n,) bool: part of a tandem repeat of such a period, its first unit left out."""
    out = np.zeros(len(bases), bool)
    for p in periods:
        same = np.concatenate([[False], (bases[p:] == bases[:-p]) & (bases[p:] < N), [False]])
        edges = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2)  # of the runs of agreement
        for a, b in edges[edges[:, 1] - edges[:, 0] >= max(24, p)]:
            out[a + p:b + p] = True
    return out


device, _, autocast = pick_device()
target, *checkpoints = sys.argv[1:]
figure, axes = plt.subplots(len(checkpoints), 2, figsize=(11, 3.1 * len(checkpoints)), width_ratios=(3, 1.3), squeeze=False, layout="constrained")
print(f"{'':24}{'all':>14}{'tandem':>14}{'other repeats':>15}{'unique':>14}{'batches of ' + str(BATCH) + ' windows, lowest to highest':>50}")
for (left, right), path in zip(axes, checkpoints):
    model, held = load_model(path, device)
    genome, T = Genome(find_dataset(held["config"]["dataset"])), model.config.block_size
    low, high = max(genome.stretches("val"), key=lambda s: s[1] - s[0])
    raw = np.asarray(genome.bases("val")[low:min(high, low + BASES)])
    raw = raw[:len(raw) // T * T]
    rows = torch.from_numpy(raw & 7).long().view(-1, T)
    with torch.no_grad(), autocast:
        bits = np.concatenate([base_nll(model, x.to(device)).double().cpu().numpy().ravel() for x in rows.split(64)]) / math.log(2)
    real, repeat, again = raw & 7 < N, raw & REPEAT > 0, tandem(raw & 7)
    groups = {"all": real, "tandem": real & again, "other repeats": real & repeat & ~again, "unique": real & ~repeat & ~again}
    in_order = bits.reshape(-1, T).mean(1)
    shuffled = np.random.default_rng(0).permutation(in_order)
    means = [x[:len(x) // BATCH * BATCH].reshape(-1, BATCH).mean(1) for x in (in_order, shuffled)]
    print(f"{path:24}" + "".join(f"{bits[m].mean():8.3f} {m.mean():4.1%}".rjust(w) for m, w in zip(groups.values(), (14, 14, 15, 14)))
          + f"   in order {means[0].min():.2f} to {means[0].max():.2f}, shuffled {means[1].min():.2f} to {means[1].max():.2f}; lowest window {in_order.min():.2f}")

    edges = np.flatnonzero(np.diff(np.concatenate([[0], again.astype(np.int8), [0]]))).reshape(-1, 2)
    a, b = max(edges, key=lambda e: e[1] - e[0])
    first = max(0, min((a + b) // 2 - AROUND, len(raw) - 2 * AROUND))
    part = slice(first, first + 2 * AROUND)
    x = np.arange(part.start, part.stop) + low
    left.fill_between(x, 0, 2.6, where=repeat[part], step="mid", color="0.88", lw=0, label="soft-masked")
    left.fill_between(x, 0, 2.6, where=again[part], step="mid", color="C1", alpha=0.5, lw=0, label="tandem repeat")
    left.plot(x, np.convolve(bits, np.ones(SMOOTH) / SMOOTH, "same")[part], lw=0.8, color="C0", label=f"bits, mean of {SMOOTH} bases")
    left.set(ylim=(0, 2.6), xlim=(x[0], x[-1]), ylabel="bits per base", title=f"{Path(held['config']['dataset']).name}, {held['data']['val'][0]}")
    left.ticklabel_format(useOffset=False, style="plain")
    right.plot(means[0], lw=0.9, color="C3", label="in the genome's order")
    right.plot(means[1], lw=0.9, color="C0", label="shuffled")
    right.set(ylim=(None, 2.05), xlabel=f"batch of {BATCH} windows", title="mean bits of a batch")
    right.legend(fontsize=8)
axes[0, 0].legend(fontsize=8, loc="lower left")
figure.savefig(target, dpi=110)
print(f"wrote {target}")
