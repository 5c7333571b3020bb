"""The bytes of a genome (genome.py), and the windows read from them (windows.py)."""

from data.genome import (
    ALPHABET,
    FORMAT,
    MIN_GAP,
    REPEAT,
    SPLITS,
    Genome,
    N,
    decode,
    encode,
    reverse_complement,
)
from data.windows import SEGMENT, Mixture, Windows, eval_windows, quarters, share

__all__ = [
    "ALPHABET",
    "FORMAT",
    "Genome",
    "MIN_GAP",
    "Mixture",
    "N",
    "REPEAT",
    "SEGMENT",
    "SPLITS",
    "Windows",
    "decode",
    "encode",
    "eval_windows",
    "quarters",
    "reverse_complement",
    "share",
]
