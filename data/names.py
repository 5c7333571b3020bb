"""What the names of a FASTA's records say: which chromosome a record is, and what kind of sequence.

One human chromosome has many names: chr6 (UCSC), 6 (Ensembl), NC_000006.12 (RefSeq), CM000668.2
(GenBank). Here it is chr6 everywhere.
"""

import re

# Accessions without their version, which tells the assembly: the first is chr1's, the last chrY's.
# From NCBI's assembly reports of GRCh37, GRCh38 (GCF_000001405) and T2T-CHM13 (GCF_009914755).
HUMAN = [f"chr{name}" for name in (*range(1, 23), "X", "Y")]
ACCESSIONS = {f"NC_{number:06}": name for number, name in enumerate(HUMAN, 1)}
ACCESSIONS |= {f"CM{number:06}": name for number, name in enumerate(HUMAN, 663)}
ACCESSIONS |= {f"NC_{number:06}": name for number, name in enumerate(HUMAN, 60925)}
ACCESSIONS |= {f"CP{68278 - number:06}": HUMAN[number - 1] for number in range(1, 24)}
ACCESSIONS |= {"CP086569": "chrY"}
ACCESSIONS |= {"NC_012920": "chrM", "J01415": "chrM", "NC_001807": "chrM", "CP068254": "chrM"}

# Bases of each, of UCSC's hg38.chrom.sizes.
_LENGTHS = """
    248956422 242193529 198295559 190214555 181538259 170805979 159345973 145138636
    138394717 133797422 135086622 133275309 114364328 107043718 101991189 90338345
    83257441 80373285 58617616 64444167 46709983 50818468 156040895 57227415
"""
HG38 = dict(zip(HUMAN, map(int, _LENGTHS.split())))

# The kinds of records.
CHROMOSOME = "chromosomes"
SCAFFOLD = "unplaced scaffolds"
ORGANELLE = "mitochondria and chloroplasts"
COPY = "alternative haplotypes, patches and decoys"
OTHER = "others"

COPY_NAME = re.compile(
    r"chr.+_(alt|fix)|chr[^_]+_[^_]+_hap\d+|"  # UCSC
    r"chrEBV|NC_007605.*|"  # the Epstein-Barr virus, a decoy
    r"HLA-.+|hs37d5|.+_decoy|"  # the sets for aligners: hs38DH, hs37d5
    r"CHR_[A-Z]{2}.+|HSCHR.+|HG\d+_.*PATCH"  # Ensembl
)
COPY_TEXT = re.compile(
    r"ALT_REF_LOCI|alternate locus|genomic patch|\bHAP$|\bPATCH_(FIX|NOVEL)\b|\bhaplotype HAP\b"
)
ORGANELLE_NAME = re.compile(
    r"(chr)?(M|MT|Mito|mtDNA|mitochondri(on|al).*)|"
    r"(chr)?(Pt|Pltd|chloroplast.*|plastid.*|apicoplast.*)|chrC",
    re.I,
)
ORGANELLE_TEXT = re.compile(r"\b(mitochondri(on|al)|chloroplast|plastid|apicoplast)\b", re.I)
SCAFFOLD_NAME = re.compile(
    r"chrUn.*|chrU|chrUextra|chr.+_random|"  # UCSC
    r"N[TW]_\d+.*|NZ_[A-Z]{4,6}\d{8,}.*|"  # RefSeq
    r"[A-Z]{4,6}\d{8,}(\.\d+)?|"  # GenBank: the contigs of a whole genome
    r"(GL|KI|KN|KQ|KV|KZ|ML|MU|JH|KB|KE|KK|KL|DS|GG|GJ)\d{6}(\.\d+|v\d+)?(_random)?|"
    r"(.*[_.-])?(scaffold|scaf|contig|ctg|unplaced|unlocali[sz]ed|unitig)([_.-]?\d.*)?|"
    r"([pu]tg|tig|NODE_|Un_|U_)\d.*|.+_unloc(_.*|\d.*)?|"  # of assemblers
    r"\d{9,}",  # FlyBase
    re.I,
)
SCAFFOLD_TEXT = re.compile(r"\b(unlocali[sz]ed|unplaced|(super)?(scaffold|contig))\b", re.I)
CHROMOSOME_NAME = re.compile(
    r"(chr|chromosome|chrom|LG|SUPER)[_.-]?[0-9A-Z].*|"
    r"\d{1,2}[A-DLR]?|[IVX]+|[XYZW]\d?",
    re.I,
)
CHROMOSOME_TEXT = re.compile(r"\bchromosome\b", re.I)
HUMAN_TEXT = re.compile(r"\bHomo sapiens\b.*?\bchromosome:? (\d+|X|Y)\b")


def ucsc_name(name, description=""):
    """UCSC's name of a human chromosome that is named in another way; any other name as it is.

    description: the rest of a FASTA's header, which may say it: "Homo sapiens chromosome 6, ...".
    """
    if f"chr{name}" in HUMAN:
        return f"chr{name}"
    if name == "MT":
        return "chrM"
    known = ACCESSIONS.get(re.sub(r"\.\d+$", "", name))
    if known:
        return known
    said = HUMAN_TEXT.search(description)
    if said and kind_of(name, description) == CHROMOSOME:
        return ucsc_name(said[1])
    return name


def are_roman_or_arms(names):
    """Whether these are the chromosomes of a yeast, worm or fly, whose X and 4 are not human."""
    return any(re.fullmatch(r"[IV]+|X[IV]+|\d+[LR]", name) for name in names)


def naming_of(name):
    """Who names a human chromosome in this way."""
    if f"chr{name}" in HUMAN or name == "MT":
        return "Ensembl"
    return "RefSeq" if re.match("[A-Z]{2}_", name) else "GenBank"


def chromosome_key(name):
    """What names of the same chromosome have in common: "6" for chr6, Chr6, 6, NC_000006.12."""
    return re.sub(r"^chr(?!om)", "", ucsc_name(name), flags=re.I)


def human_chromosome(name, description=""):
    """The human chromosome that a record is or looks like, "" if none: chr6 for chr6_RagTag,
    chromosome_6, chr6_MATERNAL, and for any record whose description says so.
    """
    said = HUMAN_TEXT.search(description)
    if said:
        return ucsc_name(said[1])
    name = ucsc_name(name)
    match = re.fullmatch(r"(?:.*#)?(?:chr|chromosome|chrom)[_.-]?(\d+|X|Y)([_.:#-].*)?", name, re.I)
    if match:
        name = ucsc_name(match[1].upper())
    return name if name in HUMAN else ""


def kind_of(name, description=""):
    """What a record is, by its name and the rest of its header: one of the kinds above."""
    if COPY_NAME.fullmatch(name) or COPY_TEXT.search(description):
        return COPY
    if ORGANELLE_NAME.fullmatch(name) or ucsc_name(name) == "chrM":
        return ORGANELLE
    if ORGANELLE_TEXT.search(description):
        return ORGANELLE
    if ucsc_name(name) in HUMAN:
        return CHROMOSOME
    if SCAFFOLD_NAME.fullmatch(name) or SCAFFOLD_TEXT.search(description):
        return SCAFFOLD
    if CHROMOSOME_NAME.fullmatch(name) or CHROMOSOME_TEXT.search(description):
        return CHROMOSOME
    return OTHER
