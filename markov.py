"""Markov models of DNA: the baselines that a GPT has to beat. They take and return what a GPT does.
Imports torch and model.py.
"""

from copy import copy

import torch
import torch.nn.functional as F
from torch import nn

from model import N


def kmers(tokens, k):
    """(n,) tokens -> (n - k + 1,) int64: k-mers as numbers in base 4, negative where they hold N.

    k: at most 15. By doubling: two neighbouring 4-mers make an 8-mer, so log2(k) passes are enough.
    """
    one = torch.where(tokens < N, tokens.long(), -(2**31))
    code = one
    length = 1  # of the k-mers that code holds
    for bit in bin(k)[3:]:
        code = code[:-length] * 4**length + code[length:]
        length = 2 * length
        if bit == "1":
            code = code[:-1] * 4 + one[length:]
            length = length + 1
    return code


def count_kmers(bases, k, chunk):
    """(n,) uint8 bases -> int64 of k axes of 4: how often each k-mer occurs, on both strands.

    chunk: bases counted at a time.
    """
    counts = torch.zeros(4**k, dtype=torch.int64)
    for start in range(0, len(bases) - k + 1, chunk):
        code = kmers(torch.as_tensor(bases[start : start + chunk + k - 1] & 7), k)
        code = code[code >= 0]
        counts.scatter_add_(0, code, torch.ones_like(code))
    counts = counts.view((4,) * k)
    axes = tuple(range(k))
    complement = counts.flip(axes)  # A 0 pairs with T 3, C 1 with G 2
    return counts + complement.permute(*reversed(axes))


class Markov(nn.Module):
    """Interpolated Markov model: P_k = (counts_k + strength P_k-1) / (total_k + strength).

    bases: (n,) uint8; both strands are counted. order: how many bases a prediction looks back on; 0
    predicts by the frequency of each base. strength: 100 was the best of 20 to 1,000 on real and on
    toy DNA.
    """

    def __init__(self, bases, order, strength=100.0, chunk=2**18):
        super().__init__()
        self.order = order
        counts = count_kmers(bases, order + 1, chunk).float()
        counts = counts.view(-1, 4)  # (4^order contexts, next base)
        levels = [counts]
        for _ in range(order):
            levels.append(levels[-1].view(4, -1, 4).sum(0))  # forget the first base of the context
        self.tables = []  # log-probabilities (4^k, 4) for k = 0 ... order
        P = torch.full((1, 4), 0.25)
        for level in reversed(levels):
            shorter = P.repeat(len(level) // len(P), 1)
            P = (level + strength * shorter) / (level.sum(1, keepdim=True) + strength)
            self.tables.append(P.log())

    def at_order(self, order):
        """The same model, looking back on `order` bases, at most as many as it does; the tables are
        shared, since the counts of order k are those of k + 1, summed.
        """
        lower = copy(self)
        lower.order = order
        return lower

    def forward(self, idx):
        """(B, T) tokens -> (B, T, 4) log-probabilities of the next base.

        From the longest context, up to `order`, that holds no N.
        """
        T = idx.size(1)
        out = self.tables[0].expand(*idx.shape, 4)
        code = torch.zeros_like(idx)
        known = torch.ones_like(idx, dtype=torch.bool)
        for k in range(1, self.order + 1):
            past = F.pad(idx, (k - 1, 0), value=N)[:, :T]  # the token k - 1 before
            code = code + past.clamp(max=3) * 4 ** (k - 1)
            known = known & (past < N)
            out = torch.where(known[..., None], self.tables[k][code], out)
        return out

    states = forward  # what a probe reads
