"""The probe: a small network learns to tell windows from controls by a model's frozen states."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from dart.metrics import auroc, average_precision, rate
from dart.networks import CNN
from dart.progress import bar
from model import N


@dataclass
class Probe:
    """A row of the probe's table.

    embed: (B, T) uint8 bases -> (B, T, C) or pooled (B, C) float32 states. network: C -> a network
    from those to (B, 2) logits. tie: a difference of margins up to this is no win.
    """

    name: str
    embed: Callable
    network: Callable = CNN
    learning_rate: float = 2e-3
    tie: float = 0


# ---- the states


@torch.no_grad()
def states(model, bases, device="cpu", pool="", layer=None):
    """(B, T) uint8 bases -> (B, T, C) float32, the state at each base, which has read that base.

    model: a GPT or a Markov model; None for the bases themselves, one-hot. layer: of a GPT, the
    states after this many blocks, by default after all. pool="mean": their mean over the bases,
    (B, C).
    """
    bases = torch.from_numpy(bases).to(device).long()
    if model is None:
        x = F.one_hot(bases, 4).float()
    else:
        tokens = F.pad(bases, (1, 0), value=N)  # the start symbol goes first
        x = model.states(tokens) if layer is None else model.states(tokens, layer=layer)
        x = x[:, 1:].float()
    return x.mean(1) if pool else x


def embedder(candidate, pool="", layer=None):
    """A function from bases to the states of a candidate's model, for a Probe."""

    def embed(bases):
        with candidate.autocast:
            return states(candidate.model, bases, candidate.device, pool, layer)

    return embed


class States:
    """The states of all pairs: kept if they fit into memory, else computed whenever they are asked
    for.

    embed: as in Probe. pairs: (M, 2, T) uint8. memory: GB to keep them in, as float32 if that fits,
    else as bfloat16. chunk: pairs at a time.
    """

    def __init__(self, embed, pairs, memory, chunk, name):
        self.embed = embed
        self.pairs = pairs
        self.chunk = chunk
        shape = self.compute(np.arange(1)).shape[1:]  # (2, T, C), pooled (2, C)
        self.channels = shape[-1]
        self.kept = None
        dtype = dtype_that_fits(len(pairs) * shape.numel(), memory)
        if dtype is not None:
            self.kept = torch.empty(len(pairs), *shape, dtype=dtype)
            for rows in bar(cut(np.arange(len(pairs)), chunk), f"{name}: states"):
                self.kept[rows] = self.compute(rows).to("cpu", dtype)

    def compute(self, rows):
        """(n,) numbers of pairs -> their states, (n, 2, ...)."""
        T = self.pairs.shape[2]
        parts = [self.embed(self.pairs[part].reshape(-1, T)) for part in cut(rows, self.chunk)]
        return torch.cat(parts).unflatten(0, (-1, 2))

    def read(self, rows):
        """The same, from memory if they are kept."""
        if self.kept is None:
            return self.compute(rows)
        return self.kept[rows]


def dtype_that_fits(numbers, memory):
    """float32 if so many numbers fit into `memory` GB, else bfloat16, or None if neither does."""
    for dtype in (torch.float32, torch.bfloat16):
        if numbers * dtype.itemsize <= memory * 1e9:
            return dtype
    return None


def cut(rows, size):
    """Pieces of `rows`, of `size` each but for the last."""
    return np.split(rows, range(size, len(rows), size))


# ---- training


def train_probe(
    embed,
    pairs,
    folds,
    make=CNN,
    lr=2e-3,
    epochs=20,
    batch=64,
    shuffle=True,
    memory=4.0,
    chunk=64,
    seed=0,
    name="probe",
    device="cpu",
):
    """Train a network make(C) for each fold on the states of (M, 2, T) uint8 pairs -> (M, 2)
    margins, logit of real minus logit of control; nan for pairs that no fold tests.

    embed, memory, chunk, name: as in States. folds: [(train, val, test), ...], numbers of pairs.
    batch: pairs in a step. shuffle: a new order each epoch.
    """
    rng = np.random.default_rng(seed)
    margins = np.full(pairs.shape[:2], np.nan)
    held = States(embed, pairs, memory, chunk, name)
    for train, val, test in folds:
        torch.manual_seed(seed)
        net = make(held.channels).to(device)
        optimizer = torch.optim.Adam(net.parameters(), lr)
        best_loss = math.inf
        best_weights = None
        for _ in bar(range(epochs), f"{name}: epochs"):
            order = rng.permutation(train) if shuffle else train
            train_epoch(net, optimizer, held, cut(order, batch), device)
            loss = validation_loss(net, held, cut(val, chunk), device)
            if loss < best_loss:
                best_loss = loss
                best_weights = {key: value.clone() for key, value in net.state_dict().items()}
        if best_weights is not None:  # none if every loss was nan
            net.load_state_dict(best_weights)
        net.eval()
        for rows in cut(test, chunk):
            with torch.no_grad():
                margins[rows] = loss_and_margins(net, held.read(rows), device)[1].cpu().numpy()
    return margins


def train_epoch(net, optimizer, held, batches, device):
    """One pass over the training pairs."""
    net.train()
    for rows in batches:
        optimizer.zero_grad()
        loss, _ = loss_and_margins(net, held.read(rows), device)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def validation_loss(net, held, batches, device):
    """The mean loss of the pairs that select the epoch."""
    net.eval()
    total = 0
    n = 0
    for rows in batches:
        loss, _ = loss_and_margins(net, held.read(rows), device)
        total += loss.item() * len(rows)
        n += len(rows)
    return total / n


def loss_and_margins(net, x, device):
    """(n, 2, ...) states of windows and controls -> (loss, (n, 2) margins). The loss of a pair is
    the cross-entropy of its window plus that of its control.
    """
    logits = net(x.to(device).float().flatten(0, 1))
    is_real = torch.tensor((1, 0), device=device).repeat(len(x))
    loss = 2 * F.cross_entropy(logits, is_real)
    margins = (logits[:, 1] - logits[:, 0]).detach()
    return loss, margins.unflatten(0, (-1, 2))


# ---- the metrics


def probe_metrics(margins, tie=0):
    """Metrics of (M, 2) margins, of windows and of their controls.

    accuracy, mcc (Matthews correlation), auroc, auprc are of 2 M single sequences; paired, with its
    95 % interval low to high, is of pairs, where a difference up to `tie` counts as wrong.
    """
    M = len(margins)
    true_positives, false_positives = (margins > 0).sum(0).tolist()
    positives = true_positives + false_positives
    bottom = math.sqrt(positives * (2 * M - positives))
    mcc = (true_positives - false_positives) / bottom if bottom else 0.0
    of_all = margins.T.ravel()  # all windows, then all controls
    is_window = np.arange(2 * M) < M
    paired = rate(margins[:, 0] - margins[:, 1], tie)
    return {
        "pairs": M,
        "paired": paired["accuracy"],
        "low": paired["low"],
        "high": paired["high"],
        "ties": paired["ties"],
        "accuracy": (true_positives + M - false_positives) / (2 * M),
        "mcc": mcc,
        "auroc": auroc(of_all, is_window)["value"],
        "auprc": average_precision(of_all, is_window),
    }
