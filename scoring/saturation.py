"""In-silico saturation mutagenesis: every base of a region replaced by each of the others."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from data import N, reverse_complement
from model import LETTERS


def saturate(model, genome, chrom, start, end, after, batch_size, precision, bar):
    """((n, 4) float64 forward, (n, 4) reverse): nats by which a sequence is likelier with another
    base at each place of [start, end), A to T; 0 for the base that is there, nan at N.

    Each is the log-likelihood of a base and of the `after` bases behind it (at most block_size / 4)
    given at least block_size / 2 before it, on its strand. batch_size: windows at a time, of which
    the model keeps three copies. precision: what the model computes in, a torch.dtype. bar: is told
    how many bases are done.
    """
    flank = model.config.block_size // 2
    bases = genome.fetch(chrom, start - flank, end + flank) & 7
    place = slice(flank, flank + end - start)
    forward = one_strand(model, bases, place, after, batch_size, precision, bar)
    complement = reverse_complement(bases)
    reverse = one_strand(model, complement, place, after, batch_size, precision, bar)
    return forward, reverse[::-1, ::-1]  # the last base first, T for A


def one_strand(model, bases, place, after, batch_size, precision, bar):
    """(n, 4) nats for the bases at `place`, a slice of (L,) bases; see saturate.

    They are cut into chunks of one size. A window holds a chunk, block_size / 2 bases before it and
    `after` behind it, and fits into the context.
    """
    before = model.config.block_size // 2
    most = model.config.block_size - before - after  # bases of a chunk
    n_chunks = math.ceil((place.stop - place.start) / most)
    chunk = math.ceil((place.stop - place.start) / n_chunks)
    starts = range(place.start, place.stop, chunk)
    windows = np.full((len(starts), before + chunk + after), N, np.uint8)
    for row, first in zip(windows, starts):
        held = bases[first - before : min(first + chunk + after, len(bases))]
        row[: len(held)] = held
    scores = []
    for k in range(0, len(windows), batch_size):
        some = windows[k : k + batch_size]
        scores.append(score_windows(model, some, before, after, precision, bar))
    return np.concatenate(scores).reshape(-1, LETTERS)[: place.stop - place.start]


@torch.inference_mode()
def score_windows(model, windows, before, after, precision, bar):
    """(B, before + chunk + after) bases -> (B, chunk, 4) nats.

    A window's own bases are read once and stay in a cache. Then the places are gone through from
    the last to the first: at each the cache is cut back to what stands before it, and the other
    three bases are read, each with the bases behind it. Their keys and values take the place of
    those behind, which no place further to the left needs.
    """
    device = model.cos.device
    chunk = windows.shape[1] - before - after
    bases = torch.from_numpy(windows).to(device).long()
    tokens = F.pad(bases[:, :-1], (1, 0), value=N)  # token i + 1 is base i
    own = model(tokens).log_softmax(-1)  # (B, T, 4): of the base at each place
    B = len(bases)
    three = LETTERS - 1
    cache = model.new_cache(B * three, precision)
    model(tokens[:, : before + chunk].repeat_interleave(three, 0), cache)
    exact = torch.float32 if device.type == "mps" else torch.float64  # a Mac's GPU has no float64
    scores = torch.full((B, chunk, LETTERS), torch.nan, dtype=exact, device=device)
    for i in reversed(range(before, before + chunk)):
        here = bases[:, i]
        others = other_bases(here)  # (B, 3)
        behind = bases[:, i + 1 : i + 1 + after]  # (B, after)
        read = torch.cat((others.reshape(-1, 1), behind[:, :-1].repeat_interleave(three, 0)), 1)
        cache.pos = i + 1
        changed = model(read, cache).log_softmax(-1).view(B, three, after, LETTERS)
        change = change_behind(own[:, i + 1 : i + 1 + after], changed, behind)
        own_here = here.clamp(max=three)[:, None]  # of N any; it becomes nan below
        of_here = own[:, i].gather(1, others) - own[:, i].gather(1, own_here)
        of_others = of_here.to(exact) + change.to(exact).sum(2)
        scores[:, i - before].scatter_(1, others, of_others)
        scores[:, i - before].scatter_(1, own_here, 0.0)
        bar.update(B)
    scores[bases[:, before : before + chunk] == N] = torch.nan
    return scores.cpu().double().numpy()


def change_behind(own, changed, behind):
    """(B, 3, after) nats by which each base behind becomes likelier with each of three others.

    behind: (B, after) bases; N counts 0. own: (B, after, 4), their log-probabilities as it
    is; changed: (B, 3, after, 4), those with another base.
    """
    known = behind < N
    target = behind.where(known, 0)
    was = own.gather(2, target[..., None])[..., 0]  # (B, after)
    target = target[:, None].expand(changed.shape[:3])  # (B, 3, after)
    becomes = changed.gather(3, target[..., None])[..., 0]
    return (becomes - was[:, None]) * known[:, None]


def other_bases(bases):
    """(B,) bases -> (B, 3) the three that each is not; of N any three."""
    steps = torch.arange(1, LETTERS, device=bases.device)
    return (bases[:, None] + steps) % LETTERS
