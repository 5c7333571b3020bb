"""The log-likelihood of each base of a sequence of any length, on one strand or on both."""

import numpy as np
import torch

from data import N, reverse_complement
from model import base_nll

STRANDS = {"forward": ("forward",), "reverse": ("reverse",), "both": ("forward", "reverse")}


def cut_windows(length, size):
    """[(start, end, first), ...]: windows [start, end) of at most `size` bases that a sequence of
    `length` bases is read in. Each gives the log-likelihoods of its bases from `first` on.

    One window where the sequence fits. Otherwise they overlap by half, so that every base behind
    the first window is read after at least size / 2 others.
    """
    if length == 0:
        return []
    end = min(length, size)
    windows = [(0, end, 0)]
    overlap = size - size // 2
    while end < length:
        first = end
        start = first - overlap
        end = min(length, start + size)
        windows.append((start, end, first))
    return windows


def batches_of_windows(sequences, size, batch_size):
    """Yield lists of at most batch_size (number of the sequence, start, end, first), windows of
    like lengths together, so that little is filled up.
    """
    windows = []
    for i, bases in enumerate(sequences):
        for start, end, first in cut_windows(len(bases), size):
            windows.append((i, start, end, first))
    windows.sort(key=lambda window: window[2] - window[1])
    for k in range(0, len(windows), batch_size):
        yield windows[k : k + batch_size]


def to_tokens(sequences, windows, device):
    """(B, T) int64 tokens of B windows, the shorter ones filled with N at their ends.

    A model is causal, so what follows a window changes nothing in it.
    """
    longest = max(end - start for _, start, end, _ in windows)
    tokens = np.full((len(windows), longest), N, np.uint8)
    for row, (i, start, end, _) in zip(tokens, windows):
        row[: end - start] = sequences[i][start:end]
    return torch.from_numpy(tokens).to(device).long()


@torch.inference_mode()
def log_likelihoods(model, sequences, batch_size, bar):
    """[(n,) uint8 bases, ...] -> [(n,) float32 nats, ...]: the log-probability of each base given
    those before it, as far as the model's context goes; 0 at N.

    batch_size: windows at a time. bar: is told how many bases are read.
    """
    size = model.config.block_size
    nats = [np.zeros(len(bases), np.float32) for bases in sequences]
    for windows in batches_of_windows(sequences, size, batch_size):
        tokens = to_tokens(sequences, windows, model.cos.device)
        nll = base_nll(model, tokens).float().cpu().numpy()
        for row, (i, start, end, first) in zip(nll, windows):
            nats[i][first:end] = -row[first - start : end - start]
            bar.update(end - first)
    return nats


def on_strands(model, sequences, strand, batch_size, bar):
    """{strand: [(n,) float32 nats, ...]}, for "forward", "reverse" or "both" of them.

    The reverse strand's are in the order of the forward bases: a base's log-probability given those
    behind it.
    """
    nats = {}
    for name in STRANDS[strand]:
        read = sequences
        if name == "reverse":
            read = [reverse_complement(bases) for bases in sequences]
        nats[name] = log_likelihoods(model, read, batch_size, bar)
        if name == "reverse":
            nats[name] = [values[::-1] for values in nats[name]]
    return nats
