"""Draw where along the genome a model's loss falls towards zero, and what that does to batches read
in the genome's order.

  python figures/positions.py figures/positions.png out-demo/ckpt.pt out-pieces/ckpt.pt

One row a checkpoint, on its own validation bases (about a million). Left: the cost of each base
around the longest tandem repeat. Right: the mean cost of batches of 16 windows, in the genome's
order and shuffled. Prints the table that belongs to it.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from config import find_dataset
from data import REPEAT, Genome, N
from model import base_nll
from runtime.checkpoint import load_model
from runtime.device import pick_device

BASES = 2**20  # scored, at most
BATCH = 16  # windows in a batch
SMOOTH = 31  # bases that the curve is a mean of
AROUND = 2000  # bases shown on each side of the middle of the tandem repeat
TOP = 2.6  # bits at the upper edge of the picture
GROUPS = {"all": 14, "tandem": 14, "other repeats": 15, "unique": 14}  # columns and their widths


def runs(mask):
    """(n,) bool -> (R, 2) int: [start, end) of each run of True."""
    padded = np.concatenate([[False], mask, [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def tandem(bases, periods=range(1, 61)):
    """(n,) bases -> (n,) bool: part of a tandem repeat of one of these periods.

    That is, bases that equal those `period` before them, for at least 24 bases and for a whole
    period, so that the unit stands there twice or more. Its first copy is left out.
    """
    out = np.zeros(len(bases), bool)
    for period in periods:
        same = (bases[period:] == bases[:-period]) & (bases[period:] < N)
        for start, end in runs(same):
            if end - start >= max(24, period):
                out[start + period : end + period] = True
    return out


@dataclass
class Scored:
    """Validation bases and what they cost a model; arrays of (n,)."""

    title: str  # of the picture
    first: int  # where the bases start in the split
    bits: np.ndarray
    real: np.ndarray  # bool: A, C, G or T
    repeat: np.ndarray  # bool: soft-masked
    tandem: np.ndarray  # bool
    block_size: int  # n is a multiple of it

    def groups(self):
        """{name: (n,) bool} of the columns of the table."""
        return {
            "all": self.real,
            "tandem": self.real & self.tandem,
            "other repeats": self.real & self.repeat & ~self.tandem,
            "unique": self.real & ~self.repeat & ~self.tandem,
        }

    def windows(self):
        """Mean bits of each window, in the genome's order."""
        return self.bits.reshape(-1, self.block_size).mean(1)


def score(path):
    """Scored: the first bases of the longest validation stretch, by the model of a checkpoint."""
    device, _, autocast = pick_device()
    model, held = load_model(path, device)
    genome = Genome(find_dataset(held["config"]["dataset"]))
    block_size = model.config.block_size
    first, end = max(genome.stretches("val"), key=lambda stretch: stretch[1] - stretch[0])
    raw = np.asarray(genome.bases("val")[first : min(end, first + BASES)])
    raw = raw[: len(raw) // block_size * block_size]
    parts = []
    with torch.no_grad(), autocast:
        for x in torch.from_numpy(raw & 7).long().view(-1, block_size).split(64):
            parts.append(base_nll(model, x.to(device)).double().cpu().numpy().ravel())
    return Scored(
        title=f"{Path(held['config']['dataset']).name}, {held['data']['val'][0]}",
        first=first,
        bits=np.concatenate(parts) / math.log(2),
        real=(raw & 7) < N,
        repeat=(raw & REPEAT) > 0,
        tandem=tandem(raw & 7),
        block_size=block_size,
    )


def batch_means(windows):
    """Mean of every BATCH windows, in the order given; a rest is left out."""
    return windows[: len(windows) // BATCH * BATCH].reshape(-1, BATCH).mean(1)


def print_head():
    line = " " * 24
    for name, width in GROUPS.items():
        line += name.rjust(width)
    print(line + f"batches of {BATCH} windows, lowest to highest".rjust(50))


def print_row(path, scored, in_order, shuffled):
    """in_order, shuffled: mean bits of each batch."""
    line = f"{path:24}"
    for name, mask in scored.groups().items():
        cell = f"{scored.bits[mask].mean():8.3f} {mask.mean():4.1%}"
        line += cell.rjust(GROUPS[name])
    line += f"   in order {in_order.min():.2f} to {in_order.max():.2f}"
    line += f", shuffled {shuffled.min():.2f} to {shuffled.max():.2f}"
    print(line + f"; lowest window {scored.windows().min():.2f}")


def draw_bases(axes, scored):
    """The cost of each base around the longest tandem repeat."""
    start, end = max(runs(scored.tandem), key=lambda run: run[1] - run[0])
    left = min((start + end) // 2 - AROUND, len(scored.bits) - 2 * AROUND)
    left = max(0, left)
    part = slice(left, left + 2 * AROUND)
    x = np.arange(part.start, part.stop) + scored.first
    repeat = scored.repeat[part]
    again = scored.tandem[part]
    mean = np.convolve(scored.bits, np.ones(SMOOTH) / SMOOTH, "same")[part]
    band = dict(step="mid", lw=0)
    axes.fill_between(x, 0, TOP, where=repeat, color="0.88", label="soft-masked", **band)
    axes.fill_between(x, 0, TOP, where=again, color="C1", alpha=0.5, label="tandem repeat", **band)
    axes.plot(x, mean, lw=0.8, color="C0", label=f"bits, mean of {SMOOTH} bases")
    axes.set(ylim=(0, TOP), xlim=(x[0], x[-1]), ylabel="bits per base", title=scored.title)
    axes.ticklabel_format(useOffset=False, style="plain")


def draw_batches(axes, in_order, shuffled):
    """The mean bits of each batch."""
    axes.plot(in_order, lw=0.9, color="C3", label="in the genome's order")
    axes.plot(shuffled, lw=0.9, color="C0", label="shuffled")
    xlabel = f"batch of {BATCH} windows"
    axes.set(ylim=(None, 2.05), xlabel=xlabel, title="mean bits of a batch")
    axes.legend(fontsize=8)


def main():
    if len(sys.argv) < 3:
        sys.exit("error: give the picture to write and one or more checkpoints")
    target = sys.argv[1]
    checkpoints = sys.argv[2:]
    figure, rows = plt.subplots(
        len(checkpoints),
        2,
        figsize=(11, 3.1 * len(checkpoints)),
        width_ratios=(3, 1.3),
        squeeze=False,
        layout="constrained",
    )
    print_head()
    for (left, right), path in zip(rows, checkpoints):
        scored = score(path)
        windows = scored.windows()
        in_order = batch_means(windows)
        shuffled = batch_means(np.random.default_rng(0).permutation(windows))
        print_row(path, scored, in_order, shuffled)
        draw_bases(left, scored)
        draw_batches(right, in_order, shuffled)
    rows[0, 0].legend(fontsize=8, loc="lower left")
    figure.savefig(target, dpi=110)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
