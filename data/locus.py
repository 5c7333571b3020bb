"""A place of a genome as people write it: chr21:22,000,000-22,000,500, 0-based and half-open."""

import re

from config import die
from data.genome import N


def parse_locus(text):
    """(chromosome, start, end) of a text such as chr21:22,000,000-22,000,500; None for another."""
    match = re.fullmatch(r"(\S+):(\d[\d,]*)-(\d[\d,]*)", text)
    if match is None or text.startswith("FILE:"):
        return None
    low = int(match[2].replace(",", ""))
    high = int(match[3].replace(",", ""))
    return match[1], low, high


def read_locus(text, genome, setting="start"):
    """(n,) bases of a locus of the genome, without repeat bits; dies if there are none. setting:
    what the user named it by.
    """
    chrom, low, high = parse_locus(text)
    if low >= high:
        die(f"--{setting}={text}: the end must lie behind the start")
    name = genome.find(chrom)
    if name is not None and high > genome.chroms[name]["length"]:
        die(f"--{setting}={text}: {chrom} ends at {genome.chroms[name]['length']}")
    bases = genome.fetch(chrom, low, high) & 7
    if (bases >= N).all():
        die(f"--{setting}={text} is a gap, N throughout: choose another place")
    return bases
