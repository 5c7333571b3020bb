"""A genome, from files as people have them to the windows that are read.

To prepare one: download.py fetches a file; files.py reads text, compressed or not; fasta.py and
bed.py read records; names.py says which chromosome a name means; splits.py what is taken and held
out; bins.py sorts it into the .bin files. To read one: genome.py has the bytes; windows.py the
windows of each step; regions.py the regions of a BED; locus.py a place as people write it;
corpus.py the genomes of a run.
"""

from data.genome import (
    ALPHABET,
    ELEMENT,
    FLANK,
    FORMAT,
    MIN_GAP,
    REPEAT,
    SPLITS,
    Genome,
    N,
    decode,
    encode,
    is_base,
    reverse_complement,
)
from data.regions import Regions, known_ccre, mark_elements, widen
from data.windows import SEGMENT, Mixture, Windows, eval_windows, quarters, rows_of_process

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
    "is_base",
    "known_ccre",
    "mark_elements",
    "quarters",
    "reverse_complement",
    "rows_of_process",
    "widen",
]
