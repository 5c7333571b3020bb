"""The networks of the probe: each takes what a frozen model makes of a window, and says whether the
window is real (logit 1) or a control (logit 0).
"""

import torch
import torch.nn.functional as F
from torch import nn

from dart.elements import WINDOW


class CNN(nn.Module):
    """The official probe: (B, T, C) states -> (B, 2) logits; 32 C + 16,546 weights."""

    def __init__(self, C):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv1d(C, 32, 1, padding=1),
            nn.ReLU(),
            nn.Conv1d(32, 32, 8, padding=1),
            nn.ReLU(),
            nn.Conv1d(32, 32, 8, padding=1),
            nn.ReLU(),
        )
        self.out = nn.Linear(32, 2)

    def forward(self, x):
        return self.out(self.convs(x.mT).sum(2))


class AbInitio(nn.Module):
    """The official network without a model before it: (B, T, 4) one-hot bases -> (B, 2) logits;
    67,840 weights for T = 350.
    """

    def __init__(self, C=4, T=WINDOW):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(T, 1))
        self.motifs = nn.Conv1d(C, 256, 41, padding="same")
        self.placed = nn.Linear(1, 256)
        self.probe = CNN(256)

    def forward(self, x):
        motifs = self.motifs(x.mT).mT
        return self.probe(F.relu(motifs + self.placed(self.place)))


def linear(C):
    """A linear probe: (B, C) pooled states, each channel standardised -> (B, 2) logits."""
    return nn.Sequential(nn.BatchNorm1d(C, affine=False), nn.Linear(C, 2))
