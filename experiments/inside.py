"""How well checkpoints know held-out elements, class by class: bits per base, and what changed.

  python -m experiments.inside --dataset=pieces3 --elements=elements.bed.gz BEFORE/ckpt.pt \
      AFTER/ckpt.pt ...

Elements of the validation chromosomes, each in the middle of a window of the models' context;
unique bases alone, mean of both strands. The first checkpoint is what the others are compared
with: the change in bits per base, and its 95 % interval over elements (bootstrap). The last row is
of the other bases of the same windows, a neighbouring element's too.
"""

import argparse

import numpy as np
import torch
from tqdm import tqdm

from config import die, find_dataset
from data import REPEAT, Genome, Regions, is_base
from runtime.checkpoint import load_model
from scoring.likelihood import on_strands

RESAMPLES = 2000
ALL = "all"
BESIDE = "beside them"


def windows_about(places, bases, stretches, size):
    """(R, 2) places in a .bin of bases -> (R, size) uint8 windows with them in the middle, and
    (R, size) bool, where the places are. Those in a gap, or on a stretch that is shorter than a
    window, are left out.
    """
    windows = []
    inside = []
    for start, end in places.tolist():
        here = stretches[(stretches[:, 0] < end) & (stretches[:, 1] > start)]
        if not len(here) or here[0, 1] - here[0, 0] < size:
            continue
        low, high = here[0]
        first = min(max((start + end - size) // 2, low), high - size)
        windows.append(bases[first : first + size])
        position = first + np.arange(size)
        inside.append((position >= start) & (position < end))
    return np.array(windows), np.array(inside)


def groups_of(genome, elements, size):
    """({group: (W, size) bool, the bases that it counts}, (W, size) uint8 windows).

    Groups: all elements, each class, the bases beside.
    """
    windows = []
    inside = []
    kinds = []
    for kind, places in elements.by_kind("val").items():
        of_kind, marks = windows_about(places, genome.bases("val"), genome.stretches("val"), size)
        if len(of_kind):
            windows.append(of_kind)
            inside.append(marks)
            kinds += [kind] * len(of_kind)
    if not windows:
        elements.die_of_none("val")
    windows = np.concatenate(windows)
    inside = np.concatenate(inside)
    unique = ((windows & REPEAT) == 0) & is_base(windows)
    if not (inside & unique).any():
        die(f"{elements.path}: no unique base of the val chromosomes is in its regions")
    groups = {ALL: inside & unique}
    for kind in sorted(set(kinds)):
        is_kind = np.array([each == kind for each in kinds])
        of_kind = inside & unique & is_kind[:, None]
        if of_kind.any():
            groups[kind or "without a class"] = of_kind
    if (~inside & unique).any():
        groups[BESIDE] = ~inside & unique
    return groups, windows


def bits_of(path, windows, batch_size):
    """(W, size) bits that each base costs a checkpoint, mean of both strands."""
    model, _ = load_model(path)
    if model.config.block_size != windows.shape[1]:
        die(f"{path}: its context is {model.config.block_size}, the first one's {windows.shape[1]}")
    nats = on_strands(model, list(windows & 7), "both", batch_size, tqdm(disable=True))
    return -np.mean([np.array(of_strand) for of_strand in nats.values()], 0) / np.log(2)


def interval(change, counts, rng):
    """95 % interval of a change in bits per base, from (W,) sums of it and (W,) bases counted."""
    change, counts = change[counts > 0], counts[counts > 0]
    picks = rng.integers(0, len(change), (RESAMPLES, len(change)))
    means = change[picks].sum(1) / counts[picks].sum(1)
    return np.percentile(means, (2.5, 97.5))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--elements", required=True, help="a BED, with classes in its column 10")
    parser.add_argument("--batch_size", type=int, default=32)
    args = parser.parse_args()
    genome = Genome(find_dataset(args.dataset))
    size = load_model(args.checkpoints[0])[0].config.block_size
    groups, windows = groups_of(genome, Regions(args.elements, genome, "elements"), size)
    for name, counted in groups.items():
        print(f"{name}: {counted.any(1).sum()} elements, {counted.sum():,} unique bases")
    before = None
    torch.set_grad_enabled(False)
    for path in args.checkpoints:
        bits = bits_of(path, windows, args.batch_size)
        rng = np.random.default_rng(0)
        print(path)
        for name, counted in groups.items():
            counts = counted.sum(1)
            line = f"  {name:16} {(bits * counted).sum() / counts.sum():.4f}"
            if before is not None:
                change = ((bits - before) * counted).sum(1)
                low, high = interval(change, counts, rng)
                line += f"  {change.sum() / counts.sum():+.4f} ({low:+.4f} to {high:+.4f})"
            print(line, flush=True)
        if before is None:
            before = bits


if __name__ == "__main__":
    main()
