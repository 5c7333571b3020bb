"""Embeddings: the states of a model at the bases of sequences of any length."""

import numpy as np
import torch
import torch.nn.functional as F

from data import N, reverse_complement
from scoring.likelihood import STRANDS, batches_of_windows, to_tokens

POOLS = ("mean", "last", "none")


def embed(model, sequences, pool, layer, strand, batch_size, bar):
    """[Sequence, ...] -> [array, ...]: float32 states after `layer` blocks, normalised.

    pool: "mean", (n_embd,), over the known ones of the counted bases, nan if there are none;
    "last", (n_embd,), the state that has read the last counted base, nan if there are none; "none",
    (n, n_embd), the state at each counted base, which has read it and those before it. strand:
    "forward", "reverse" (all read from the other end), or "both", the mean of the two. batch_size:
    windows at a time. bar: is told how many bases are read.
    """
    total = None
    for name in STRANDS[strand]:
        read = [sequence.bases for sequence in sequences]
        places = [(sequence.start, sequence.end) for sequence in sequences]
        if name == "reverse":
            places = [(len(b) - end, len(b) - start) for b, (start, end) in zip(read, places)]
            read = [reverse_complement(bases) for bases in read]
        found = one_strand(model, read, places, pool, layer, batch_size, bar)
        if name == "reverse" and pool == "none":
            found = [states[::-1] for states in found]
        if total is None:
            total = found
        else:
            total = [(a + b) / 2 for a, b in zip(total, found)]
    return total


@torch.inference_mode()
def one_strand(model, sequences, places, pool, layer, batch_size, bar):
    """The states as embed has them, of (n,) bases each, as they are; places: [start, end) of the
    counted ones.
    """
    size = model.config.block_size - 1  # the start symbol takes a token
    states = [empty(pool, end - start, model.config.n_embd) for start, end in places]
    for windows in batches_of_windows(sequences, size, batch_size):
        tokens = to_tokens(sequences, windows, model.cos.device)
        x = model.states(F.pad(tokens, (1, 0), value=N), layer=layer)
        x = x[:, 1:].float().cpu().numpy()  # (B, T, n_embd)
        for row, (i, start, end, first) in zip(x, windows):
            bar.update(end - first)
            low = max(first, places[i][0])
            high = min(end, places[i][1])
            if low >= high:
                continue
            new = row[low - start : high - start]
            if pool == "none":
                states[i][low - places[i][0] : high - places[i][0]] = new
            elif pool == "mean":
                states[i] += new[sequences[i][low:high] < N].sum(0)
            elif high == places[i][1]:
                states[i] = new[-1].copy()
    if pool == "mean":
        for i, (start, end) in enumerate(places):
            n = int((sequences[i][start:end] < N).sum())
            states[i] = states[i] / n if n else np.full_like(states[i], np.nan)
    return states


def empty(pool, length, width):
    """An array for the states of a sequence, with `length` counted bases."""
    if pool == "none":
        return np.zeros((length, width), np.float32)
    if pool == "last":
        return np.full(width, np.nan, np.float32)
    return np.zeros(width, np.float32)
