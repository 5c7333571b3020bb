"""Zero-shot: is the window likelier than its control?"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from dart.metrics import rate
from dart.progress import bar
from data import reverse_complement
from model import base_nll
from runtime.device import autocast_for


@dataclass
class Candidate:
    """A model to judge, and where and in which precision to run it.

    model: anything that maps (B, T) tokens to (B, T, 4) logits or log-probabilities of the base
    that follows each; None: every base has the probability 1/4.
    """

    name: str
    model: Callable | None
    device: torch.device = torch.device("cpu")
    precision: torch.dtype = torch.float32

    @property
    def autocast(self):
        """The context in which the model, and nothing beside it, computes."""
        return autocast_for(self.device, self.precision)


def windows_at_once(settings, kind):
    """Windows in a batch for the model, on a kind of device: cuda, cpu or mps. On a CPU few, which
    stay in its cache.
    """
    if settings.batch_size:
        return settings.batch_size
    return 8 if kind == "cpu" else 128


def in_float32(candidate):
    """The same model, computing in float32."""
    return replace(candidate, name="float32", precision=torch.float32)


@torch.inference_mode()
def score(model, bases, batch_size=128, name="score", device="cpu"):
    """(..., T) uint8 bases -> (...) float64 nats: the official score, the log-probability, given
    the start symbol, of all bases but the first.

    batch_size: sequences at a time; name: for the progress bar.
    """
    batches = torch.from_numpy(np.ascontiguousarray(bases)).flatten(0, -2).split(batch_size)
    nats = []
    for batch in bar(batches, name):
        nll = base_nll(model, batch.to(device).long())
        nats.append(nll[:, 1:].cpu().double().sum(1))
    return -torch.cat(nats).numpy().reshape(bases.shape[:-1])


def differences(candidate, pairs, batch_size=128):
    """(M, 2, T) pairs -> (M,) nats by which the real windows are likelier than their controls."""
    with candidate.autocast:
        scores = score(candidate.model, pairs, batch_size, candidate.name, candidate.device)
    return -np.diff(scores)[:, 0]


def judge(candidate, pairs, twice, kinds, batch_size=128):
    """(result, (M,) differences) of a candidate on (M, 2, T) pairs.

    The result is rate()'s, with both_strands (the mean of both strands' differences, for those
    pairs whose numbers are in `twice`) and by_class (the same for each of the (M,) kinds).
    """
    if candidate.model is None:
        zeros = np.zeros(len(pairs))
        return rate(zeros), zeros  # both windows are equally likely, whichever they are
    forward = differences(candidate, pairs, batch_size)
    backward = differences(candidate, reverse_complement(pairs[twice]), batch_size)
    mean = (forward[twice] + backward) / 2

    def rate_where(mask):
        result = rate(forward[mask])
        result["both_strands"] = {}
        if mask[twice].any():
            result["both_strands"] = rate(mean[mask[twice]])
        return result

    result = rate_where(np.full(len(pairs), True))
    result["by_class"] = {}
    for kind in sorted(set(kinds) - {""}):
        result["by_class"][kind] = rate_where(kinds == kind)
    return result, forward
