"""What the reader of a result must know: the data, and whatever differs from the official protocol.
Each function returns one line, unless it says otherwise.
"""

import numpy as np
import torch

from config import listed
from dart.elements import OFFICIAL_ROWS, WINDOW, takes_own_split
from dart.metrics import TIE
from dart.pairs import unmasked
from data.corpus import all_data, read_part


def name_of(precision):
    """float32, for torch.float32."""
    return str(precision).removeprefix("torch.")


# ---- the data and the model


def about_elements(path, elements):
    """Which list of elements."""
    line = f"elements: {path}, {len(elements):,} rows"
    if len(elements) != OFFICIAL_ROWS:
        line += ", not the published list"
    return line


def about_pairs(chosen, holes, available, split, genome):
    """How many pairs, of how many available ones, and how many hold N."""
    names = ", ".join(dict.fromkeys(chosen.chrom))
    whose = f"the genome's {split}"
    if not takes_own_split(genome, split):
        whose = f"DART-Eval's {split}"
    line = (
        f"pairs: {len(chosen):,} of {available:,} on {whose} chromosomes ({names}); "
        f"{holes:,} hold N or hang over an end, read as A"
    )
    if genome.meta["assembly"] == "hg38":
        line += f"; {unmasked(genome, chosen):,} hold bases where the official FASTA has N"
    return line


def about_pretraining(chosen, genome, data):
    """Whether the model has seen the chromosomes of the pairs, under whatever name and in whatever
    genome; data: what its checkpoint says of all of its data.
    """
    seen = {}
    selected_on = {}
    for about in all_data(data):
        seen |= dict.fromkeys(held_there(chosen, genome, about, "train"))
        selected_on |= dict.fromkeys(held_there(chosen, genome, about, "val"))
    line = f"pretraining saw {', '.join(seen) or 'none'} of these chromosomes"
    if seen:
        line += "; warning: what follows is about DNA that it was trained on"
    if selected_on:
        line += f"; its best checkpoint was chosen on {', '.join(selected_on)}"
    return line


def held_there(elements, genome, about, split):
    """Names of the elements' chromosomes that a genome of the training had in a split, as far as
    elements lie on what it had of them.

    Chromosomes are the same if their md5 is; of an older checkpoint, which has none, if their name
    is.
    """
    md5s = about.get("md5")
    found = []
    for part in about.get(split, ()):
        name, start, end = read_part(part)
        on_it = (elements.end > start) & (elements.start < end)
        for chrom in dict.fromkeys(elements.chrom[on_it]):
            same = chrom == name if md5s is None else genome.chroms[chrom]["md5"] == md5s[part]
            if same and chrom not in found:
                found.append(chrom)
    return found


def about_names(chroms, data, what="variants"):
    """Which of these chromosomes the model was trained on, by their names alone: variants may be
    placed on another assembly than that of the training; data: what a checkpoint says of it; what:
    lies on them.
    """
    trained = {read_part(part)[0] for about in all_data(data) for part in about.get("train", ())}
    names = list(dict.fromkeys(chroms))
    seen = [name for name in names if name in trained]
    line = f"{what} lie on {listed(names, 30)}; pretraining saw "
    line += f"{listed(seen, 30) if seen else 'none'} of these chromosomes, by their names"
    if seen:
        line += "; warning: it was trained on these"
    return line


def about_genome(genome, data):
    """Whether this is a genome of the training, split in the same way; data: what a checkpoint says
    of all of its data.
    """
    fingerprints = [about.get("fingerprint") for about in all_data(data)]
    verb = "this is" if genome.fingerprint in fingerprints else "this is not"
    return f"{verb} the genome, and the split, that it was trained on"


def about_precision(precision):
    """What the model computes in."""
    line = f"the model computes in {name_of(precision)}"
    if precision != torch.float32:
        line += " (official: float32)"
    return line


# ---- zero-shot


def about_orders(accuracy, n_pairs, part):
    """The zero-shot accuracies of Markov models by order; part: which pairs chose among them."""
    numbers = " ".join(f"{value:.3f}" for value in accuracy.values())
    return (
        f"Markov orders 1 to {max(accuracy)} on {n_pairs:,} {part} pairs, which choose the order: "
        f"{numbers}"
    )


def about_rounding(rough, exact, precision):
    """What a lower precision changes; rough, exact: (n,) differences of the same pairs."""
    flips = int(((rough > TIE) != (exact > TIE)).sum())
    change = abs(rough - exact)
    return (
        f"{name_of(precision)} changes the verdict on {flips} of {len(exact):,} pairs against "
        f"float32, and a pair's difference by {np.median(change):.2g} nats (median), "
        f"{change.max():.2g} at most"
    )


# ---- the probe


def about_probe(kind, folds, epochs, batch, official_size):
    """How the probe is trained; kind: of its folds."""
    sizes = [len(train) for train, _, _ in folds]
    line = f"probe: {kind}, training on {sizes} pairs, {epochs} epochs, batches of {batch}"
    if not official_size:
        line += (
            ", shuffled (official: all elements of the training chromosomes, "
            "150 epochs, 2048, in order)"
        )
    return line


def about_states(layer, n_layer, pool):
    """What the probe reads if not the official states, a list of lines."""
    lines = []
    if layer >= 0:
        after = f"after {layer} of {n_layer} blocks"
        lines.append(f"the probe reads the states {after} (official: the last)")
    if pool:
        lines.append(
            "the probe is linear, on the mean of the states over a window, standardised "
            "(official: a CNN on the state at each base)"
        )
    return lines


def probe_cost(folds, n_pairs, epochs):
    """How many bases a model reads for a probe."""
    once = n_pairs
    each_epoch = 0
    for train, val, test in folds:
        each_epoch += epochs * (len(train) + len(val)) + len(test)
    bases = 2 * WINDOW  # of a pair
    return (
        f"each probe reads {once * bases:.1e} bases if their states fit in probe_memory, "
        f"{each_epoch * bases:.1e} if each epoch computes them"
    )
