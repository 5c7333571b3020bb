"""What the reader of a result must know: the data, and whatever differs from the official protocol.
Each function returns one line, unless it says otherwise.
"""

import numpy as np
import torch

from dart.elements import OFFICIAL_ROWS, WINDOW
from dart.pairs import unmasked
from dart.zero_shot import TIE


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
    line = (
        f"pairs: {len(chosen):,} of {available:,} on {split} chromosomes here ({names}); "
        f"{holes:,} hold N or hang over an end, read as A"
    )
    if genome.meta["assembly"] == "hg38":
        line += f"; {unmasked(genome, chosen):,} hold bases where the official FASTA has N"
    return line


def trained_on(data, genome):
    """What a checkpoint says of this genome, or else of the main one that it was trained on; data:
    all that it says of its data.
    """
    for about in (data, *data.get("others", ())):
        if about.get("fingerprint") == genome.fingerprint:
            return about
    return data


def about_pretraining(chosen, about):
    """Whether the model has seen the chromosomes of the pairs; about: what trained_on gives."""
    seen = on_parts(chosen, about.get("train", ()))
    selected_on = on_parts(chosen, about.get("val", ()))
    line = f"pretraining saw {', '.join(seen) or 'none'} of these chromosomes"
    if seen:
        line += "; MIND: what follows is about DNA that it was trained on"
    if selected_on:
        line += f"; its best checkpoint was chosen on {', '.join(selected_on)}"
    return line


def on_parts(elements, parts):
    """The parts, such as chr1 or chr2:0-900 of a chromosome that is cut, with elements on them."""
    found = []
    for part in parts:
        name, _, place = part.rpartition(":")
        start, dash, end = place.partition("-")
        if name and dash and start.isdecimal() and end.isdecimal():
            inside = (elements.chrom == name) & (elements.end > int(start))
            inside = inside & (elements.start < int(end))
        else:
            inside = elements.chrom == part
        if inside.any():
            found.append(part)
    return found


def about_genome(genome, about):
    """Whether this is a genome of the training, split in the same way; about: what trained_on
    gives.
    """
    same = genome.fingerprint == about.get("fingerprint")
    verb = "this is" if same else "this is not"
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
