"""The transcripts of a GTF or GFF3, compressed or not, and where their exons are joined and coding
begins and ends. Places are 0-based; a stop codon counts as coding in either format.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from config import die
from data import ALPHABET, encode, reverse_complement
from data.files import read_lines

COLUMNS = 9
ATTRIBUTE = re.compile(r'(?:^|;)\s*(gene_id|transcript_id|Parent|ID)[ =]"?([^";]+)')
READ = ("exon", "CDS", "stop_codon")
STOPS = ("TAA", "TAG", "TGA")
ORF = re.compile("(?=(ATG(?:[ACGT]{3})*?(?:TAA|TAG|TGA)))")


@dataclass
class Transcript:
    """exons, cds: [(start, end), ...] along the chromosome; cds is empty if nothing is coding."""

    gene: str
    chrom: str  # as the file names it
    strand: str  # + or -
    exons: list = field(default_factory=list)
    cds: list = field(default_factory=list)

    @property
    def start(self):
        return self.exons[0][0]

    @property
    def end(self):
        return self.exons[-1][1]

    def introns(self):
        """[(start, end), ...] of what is spliced out."""
        return [(left[1], right[0]) for left, right in zip(self.exons, self.exons[1:])]

    def splice_sites(self):
        """(donors, acceptors): of each, the first of its two bases along the chromosome."""
        firsts = [start for start, _ in self.introns()]
        lasts = [end - 2 for _, end in self.introns()]
        if self.strand == "-":
            return lasts, firsts
        return firsts, lasts

    def coding(self):
        """(n,) int64: the place of each coding base, in the order in which it is read."""
        return read_order(self.cds, self.strand)


def read_order(spans, strand):
    """(n,) int64: the place of each base of spans, 5' to 3' on a strand."""
    parts = [np.arange(start, end) for start, end in spans]
    places = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return places[::-1] if strand == "-" else places


def join(spans):
    """[(start, end), ...] in order, those that touch or overlap made one."""
    joined = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def read_row(line, where):
    """(columns, {attribute: text}) of a line; dies, saying where, if it is none of GTF or GFF3."""
    columns = line.split("\t")
    if len(columns) != COLUMNS or not (columns[3].isdecimal() and columns[4].isdecimal()):
        die(
            f"{where} is not {COLUMNS} columns separated by tabs, as in GTF and GFF3: {line[:50]!r}"
        )
    return columns, dict(ATTRIBUTE.findall(columns[8]))


def read_transcripts(path):
    """[Transcript, ...] of a GTF or GFF3; dies if it holds none.

    A transcript that is placed twice (in X and in Y) is two.
    """
    spans = defaultdict(lambda: defaultdict(list))  # (id, chrom, strand) -> kind -> places
    genes = {}  # id of a transcript -> of its gene
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("##FASTA"):
            break
        if line.startswith("#") or not line.strip():
            continue
        columns, said = read_row(line, f"{path} line {number}")
        chrom, _, kind, start, end, _, strand = columns[:7]
        if "Parent" in said and "ID" in said:  # GFF3: a transcript, among others
            genes[said["ID"]] = said["Parent"]
        if kind not in READ or strand not in "+-":
            continue
        owners = said.get("Parent", said.get("transcript_id", ""))
        for owner in filter(None, owners.split(",")):
            spans[owner, chrom, strand][kind].append((int(start) - 1, int(end)))
            if "gene_id" in said:
                genes[owner] = said["gene_id"]
    if not spans:
        die(f"{path} has no exons with a transcript_id (GTF) or Parent (GFF3): give another file")
    transcripts = []
    for (owner, chrom, strand), found in spans.items():
        cds = join(found["CDS"] + found["stop_codon"])  # a GTF's CDS ends before it
        exons = join(found["exon"]) or cds
        transcripts.append(Transcript(genes.get(owner, owner), chrom, strand, exons, cds))
    return transcripts


# ---- their bases


def bases_of(genome, chrom, places, strand):
    """(n,) uint8: the bases at places of a chromosome, with their repeat bits, read on a strand."""
    low = int(places.min())
    bases = genome.fetch(chrom, low, int(places.max()) + 1)[places - low]
    return reverse_complement(bases)[::-1] if strand == "-" else bases


def add_longest_frames(transcripts, genome):
    """Give each transcript, where none has a coding base, its longest reading frame from ATG to a
    stop codon; for files that hold exons alone.
    """
    for transcript in transcripts:
        if genome.find(transcript.chrom) is None:
            continue
        places = read_order(transcript.exons, transcript.strand)
        bases = bases_of(genome, transcript.chrom, places, transcript.strand) & 7
        letters = np.frombuffer(ALPHABET.encode(), np.uint8)[bases].tobytes().decode()
        frames = list(ORF.finditer(letters))
        if frames:
            longest = max(frames, key=lambda frame: len(frame[1]))
            coding = sorted(places[longest.start(1) : longest.end(1)].tolist())
            transcript.cds = join((place, place + 1) for place in coding)


def is_complete(cds):
    """Whether (n,) bases are codons from ATG to a stop codon."""
    return len(cds) % 3 == 0 and len(cds) > 6 and reads(cds[:3], "ATG") and reads(cds[-3:], *STOPS)


def reads(bases, *words):
    """Whether bases spell one of the words."""
    return any(np.array_equal(bases & 7, encode(word)) for word in words)
