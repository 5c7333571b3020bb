"""The bytes of a genome (genome.py), windows read from them (windows.py), regions of a BED
(regions.py), and the genomes of a run (corpus.py).
"""

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
from data.regions import ELEMENT, FLANK, Regions, known_ccre, mark_elements, widen
from data.windows import SEGMENT, Mixture, Windows, eval_windows, quarters, share

__all__ = [
    "ALPHABET",
    "ELEMENT",
    "FLANK",
    "FORMAT",
    "Genome",
    "MIN_GAP",
    "Mixture",
    "N",
    "REPEAT",
    "Regions",
    "SEGMENT",
    "SPLITS",
    "Windows",
    "decode",
    "encode",
    "eval_windows",
    "known_ccre",
    "mark_elements",
    "quarters",
    "reverse_complement",
    "share",
    "widen",
]
