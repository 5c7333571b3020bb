"""FASTA in, one byte per base out: download hg38 from UCSC, check it, encode it, split it by
chromosome.

  python prepare_hg38.py                                  all of hg38 into data/hg38: 1 GB to
                                                          download, 3.1 GB of bases
  python prepare_hg38.py --chroms chr19,chr21,chr22       three chromosomes: a taste of real DNA
  python prepare_hg38.py --assembly mm39                  another genome of UCSC's, into data/mm39
  python prepare_hg38.py --fasta my.fa.gz --out data/my   any FASTA: plain, gzip, bgzip, bzip2 or xz

Human chromosomes may be named as UCSC, Ensembl, RefSeq or GenBank name them: here they are chr1 and
so on. Without --chroms, what is no chromosome is left out and counted: mitochondria, alternative
haplotypes, patches and decoys, and unplaced scaffolds, unless most of the genome is scaffolds. What
val and test do not take is for training.
"""

import difflib
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import requests

from config import configure, die, listed
from data import FORMAT, MIN_GAP, SPLITS, Genome
from data.bins import sort_into_splits
from data.download import BAR, download, md5_of
from data.fasta import count_letters, encode_record, read_fasta
from data.files import BZIP2, GZIP, XZ, check_regular, read_lines
from data.names import (
    HG38,
    are_roman_or_arms,
    chromosome_key,
    human_chromosome,
    naming_of,
    ucsc_name,
)
from data.regions import CCRE, Regions, download_ccre
from data.splits import (
    DART_EVAL,
    MOST,
    NOT_NAMED,
    assign_splits,
    bases_of,
    choose_records,
    is_named,
    names_in,
    read_splits,
    reason_to_skip,
    split_by_name,
)

fasta = ""  # a FASTA file to prepare, instead of a download
chroms = ""  # only these chromosomes, such as chr19,chr21,chr22; empty: all chromosomes
out = ""  # folder to write; empty: data/<assembly>, or data/<name of the FASTA>, beside this script
val_chroms = "auto"  # for validation, may be empty; auto: DART-Eval's chr6,chr21, else a twentieth
test_chroms = "auto"  # kept from training; auto: chr5,chr10,chr14,chr18,chr20,chr22, else as val
ccre = "auto"  # a BED of regulatory elements to keep with it; auto: for UCSC's hg38 ENCODE's list
assembly = ""  # UCSC's name of the genome: hg38, mm39, hs1, ...; empty: hg38, or unknown of a FASTA
url = "https://hgdownload.soe.ucsc.edu/goldenPath"  # where to download from
keep_fasta = True  # keep what was downloaded: another split (--fasta, --out) needs no download then
# ---- end of settings

PINNED = {"hg38.fa.gz": "1c9dcaddfa41027f17cd8f7a82c7293b"}  # md5; 983,659,424 bytes
BASES_PER_BYTE = {GZIP: 3.4, BZIP2: 4.2, XZ: 4.5}  # of a packed genome
GZIP_AT_MOST = 1032  # bytes of text in a byte of gzip
WHILE_MADE = 1 + 2 * MOST  # what is held out by a hash may be there twice as it is sorted


def main():
    started = time.time()
    folder = Path(out or default_folder())
    if folder.is_file() or "," in folder.name:
        die(f"--out={folder}: give a folder, and one without a comma in its name")
    if fasta:
        check_fasta()
    if ccre not in ("", "auto"):
        check_regular(Path(ccre), "--ccre")
    check_known()  # before anything is fetched
    old = open_old(folder)
    settings = read_splits(val_chroms, test_chroms)
    with working_folder(folder) as work:
        sources = find_sources(folder, work)
        check_disk(sources, folder)
        records, left_out = encode_sources(sources, work)
        records, more = choose_records(records, wanted_chromosomes(), settings)
        left_out |= more
        check_chromosomes(records)
        print_left_out(left_out)
        name_as_ucsc(records)
        parts, lines = assign_splits(records, settings)
        splits = sort_into_splits(records, parts, work)
        write_meta(sources, splits, work)
        if old:
            check_same(Genome(work), old)
        if ccre not in ("", "auto"):
            keep_ccre(work)
        move_into_place(work, folder)
        if not fasta and not keep_fasta:
            for path in sources:
                path.unlink()
    for line in lines:
        print(line)
    print_table(splits)
    print_advice(splits)
    if ccre == "auto" and not fasta and assembly in ("", "hg38"):
        fetch_ccre()
    print(f"{folder} prepared in {time.time() - started:.1f} s")


# ---- which chromosomes, and where they go


def default_folder():
    """data/<name of the FASTA, or of the assembly> beside this script."""
    name = Path(fasta).name.split(".")[0] or assembly or "hg38"
    return Path(__file__).parent / "data" / name


def check_fasta():
    """Die unless the setting names one file."""
    names = names_in(fasta)
    if len(names) > 1 and all(Path(name).is_file() for name in names):
        die(
            f"--fasta takes one file, not {len(names)}: prepare each genome by itself, and train "
            "on --dataset=ONE,OTHER"
        )
    check_regular(Path(fasta), "--fasta")


def wanted_chromosomes():
    """The names in --chroms, of a download as UCSC has them."""
    names = names_in(chroms)
    if fasta:
        return names
    return list(dict.fromkeys(ucsc_name(name) for name in names))


def check_known():
    """Die at a split that cannot be, where the chromosomes are known before anything is read."""
    if fasta or (assembly not in ("", "hg38") and not chroms):
        return
    names = wanted_chromosomes() or list(HG38)
    records = [dict(name=name, description="", length=HG38.get(name, 10**6)) for name in names]
    check_chromosomes(records)
    assign_splits(records, read_splits(val_chroms, test_chroms))


def check_chromosomes(records):
    """Die unless the records are all that the settings name."""
    held = [record["name"] for record in records]
    keys = {chromosome_key(name) for name in held}
    asked = names_in(chroms)
    for setting in (val_chroms, test_chroms):
        if setting not in ("auto", "tail"):
            asked += names_in(setting)
    missing = [name for name in asked if name not in held and chromosome_key(name) not in keys]
    if missing or not held:
        die(
            f"{', '.join(missing) or 'a chromosome'}: not among what is taken from {origin()} "
            f"({listed(held) or 'nothing'}): check the names"
        )


def origin():
    """What the genome comes from, for messages."""
    return fasta or f"UCSC's {assembly or 'hg38'}"


def name_as_ucsc(records):
    """Give human chromosomes UCSC's names; the FASTA's own stay beside them, as fasta_name."""
    held = {record["name"] for record in records}
    other_species = are_roman_or_arms(held)
    renamed = {}
    for record in records:
        name = record["name"]
        if other_species and naming_of(name) == "Ensembl":
            continue
        ours = ucsc_name(name, record["description"])
        if ours not in held:
            held.add(ours)
            record.update(name=ours, fasta_name=name)
            renamed.setdefault(naming_of(name), []).append(ours)
    for whose, names in renamed.items():
        print(
            f"chromosomes are named as {whose} names those of the human genome, here they are "
            f"{listed(names)}; either name will do"
        )


def counted(records):
    """1 record, 2 records, ..."""
    return f"{len(records):,} record{'' if len(records) == 1 else 's'}"


def print_left_out(left_out):
    """A line on each kind of records that are left out."""
    for reason, records in left_out.items():
        first = ", ".join(record["name"] for record in records[:3])
        more = ", ..." if len(records) > 3 else ""
        cure = "" if reason == NOT_NAMED else "; --chroms takes what it names"
        print(
            f"left out, {reason}: {counted(records)} of {bases_of(records):,} bases "
            f"({first}{more}){cure}"
        )


# ---- the folder


def open_old(folder):
    """The Genome that the folder holds already, None if it holds no whole one. Dies if another one
    was asked for, as far as that can be told before the FASTA is read.
    """
    try:
        old = Genome(folder)
    except SystemExit:
        return None
    records = [dict(row, name=name, description="") for name, row in old.chroms.items()]
    only = wanted_chromosomes()
    if not fasta and assembly in ("", "hg38"):
        only = only or list(HG38)
    taken = [record for record in records if not only or is_named(record["name"], only)]
    if len(taken) < len(records) or len({chromosome_key(name) for name in only}) > len(taken):
        die_of_another_genome(folder)
    try:
        parts, _ = assign_splits(records, read_splits(val_chroms, test_chroms))
    except SystemExit:
        die_of_another_genome(folder)
    for name, places in parts.items():
        for split, start, end in places:
            if old.split_at(name, start, end) != split:
                die_of_another_genome(folder)
    return old


def check_same(new, old):
    """Die unless a genome is the one that the folder holds already, soft-masked alike."""
    if new.fingerprint != old.fingerprint:
        die_of_another_genome(old.folder)
    if new.repeat_counts() != old.repeat_counts():
        die(
            f"{old.folder} already holds this genome, soft-masked in another way: choose another "
            "--out, or remove that folder"
        )


def die_of_another_genome(folder):
    die(
        f"{folder} already holds another genome or another split: "
        "choose another --out, or remove that folder"
    )


@contextmanager
def working_folder(folder):
    """A folder inside folder in which all files are made before they are moved to their place. It
    is removed at the end, whatever happens. An error of the disk ends the script.
    """
    work = folder / ".preparing"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    except OSError as error:
        die(
            f"{error.strerror or error} ({error.filename or folder}): nothing was prepared; "
            "make room, or choose another --out"
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()  # succeeds only where nothing is left in it


def move_into_place(work, folder):
    """Replace what folder holds by what was made in work; meta.json is away meanwhile, so that a
    half-moved genome does not open.
    """
    (folder / "meta.json").unlink(missing_ok=True)
    if ccre == "":
        (folder / CCRE).unlink(missing_ok=True)  # of an earlier time
    names = [f"{split}.bin" for split in SPLITS]
    if (work / CCRE).exists():
        names.append(CCRE)
    for name in [*names, "meta.json"]:
        (work / name).replace(folder / name)


# ---- the regulatory elements


def keep_ccre(work):
    """Write the BED of regulatory elements beside the genome; dies if it is not of this genome."""
    found = Regions(ccre, Genome(work), "--ccre")
    if not found.on_genome:
        die(
            f"--ccre={ccre} names {listed(found.names, 5) or 'no chromosome'}, of which this "
            "genome has none: give a BED of its elements"
        )
    print(found.summary())
    with open(work / CCRE, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in read_lines(Path(ccre)))


def fetch_ccre():
    """Download ENCODE's elements; a genome is whole without them, so this does not die."""
    try:
        download_ccre()
    except SystemExit as error:
        print(f"warning: no regulatory elements, for {str(error).removeprefix('error: ')}")


# ---- the FASTA


def find_sources(folder, work):
    """{path of a FASTA: what meta.json says of it}. What is to be downloaded has its url and md5,
    of UCSC's list. Dies if that list has no md5 of it, or not the one that is known here.
    """
    if fasta:
        return {Path(fasta): {"file": Path(fasta).name}}
    genome = assembly or "hg38"
    if chroms:
        base = f"{url}/{genome}/chromosomes"
        names = [f"{chrom}.fa.gz" for chrom in wanted_chromosomes()]
    else:
        base = f"{url}/{genome}/bigZips"
        names = [f"{genome}.fa.gz"]
    if all(name in PINNED and (folder / name).exists() for name in names):
        md5s = PINNED  # no network is needed
    else:
        md5s = fetch_md5s(base, work)
    sources = {}
    for name in names:
        md5 = md5s.get(name)
        if not md5 or md5 != PINNED.get(name, md5):
            near = difflib.get_close_matches(name, md5s, 1)
            hint = f"did you mean {near[0].removesuffix('.fa.gz')}? " if near and not md5 else ""
            die(
                f"{base}/md5sum.txt has {md5 or 'no md5'} for {name}, not "
                f"{PINNED.get(name, 'one')}: {hint}check --chroms and --assembly, "
                "or fetch the file yourself and give it as --fasta"
            )
        sources[folder / name] = {"url": f"{base}/{name}", "md5": md5}
    return sources


def fetch_md5s(base, work):
    """{file name: md5} of the files in a folder of UCSC's."""
    path = work / "md5sum.txt"
    download(f"{base}/md5sum.txt", path, hint="check --assembly and --chroms")
    lines = re.findall(r"(\w{32}) [ *]?(?:\./)?(\S+)", path.read_text(errors="replace"))
    return {name: md5 for md5, name in lines}


def check_disk(sources, folder):
    """Say how much disk the genome needs, about; die if there is less."""
    fetch = 0
    bases = 0
    for path, source in sources.items():
        if path.exists():
            bases += text_size(path)
        else:
            size = download_size(source["url"])
            fetch += size
            bases += BASES_PER_BYTE[GZIP] * size
    if fasta or assembly not in ("", "hg38"):
        bases *= WHILE_MADE
    need = fetch + bases
    free = shutil.disk_usage(folder).free
    print(
        f"{origin()} needs about {disk_text(need)} of disk ({disk_text(fetch)} of download, "
        f"{disk_text(bases)} of bases); {folder} has {disk_text(free)}",
        flush=True,
    )
    if need > free:
        die(
            f"{folder} has too little disk for {disk_text(need)}: "
            "free some, or choose another --out"
        )


def disk_text(n):
    """n bytes in GB, or in MB where they are few."""
    return f"{n / 1e9:.2f} GB" if n >= 1e8 else f"{n / 1e6:.2f} MB"


def download_size(url):
    """Bytes to download, 0 if the server does not say."""
    try:
        reply = requests.head(url, allow_redirects=True, timeout=60)
    except requests.RequestException:
        return 0
    return int(reply.headers.get("Content-Length", 0))


def text_size(path):
    """About how many bytes of text a FASTA holds, compressed or not."""
    with open(path, "rb") as file:
        head = file.read(6)
        packed = size = file.seek(0, 2)
        file.seek(max(size - 4, 0))
        last = int.from_bytes(file.read(), "little")
    for magic, ratio in BASES_PER_BYTE.items():
        if head.startswith(magic):
            size *= ratio
    if head.startswith(GZIP):  # ends with the size of its text, modulo 2**32, if it is whole
        size = max(size, min(last, GZIP_AT_MOST * packed))
    return size


# ---- the genome


def encode_sources(sources, work):
    """Encode the FASTAs into the .bin files of work, downloading what is not there. What no name
    sends to val or test goes to train for now.

    Returns (records, {reason: records left out}): dicts as encode_record gives them, with their
    description, and the split and offset where they are; of a record left out its name and length
    alone. Adds the file's md5 to each source.
    """
    only = wanted_chromosomes()
    settings = read_splits(val_chroms, test_chroms)
    records = []
    left_out = {}
    empty = []
    seen = set()
    with ExitStack() as stack:
        files = {s: stack.enter_context(open(work / f"{s}.bin", "wb")) for s in SPLITS}
        for path, source in sources.items():
            if not fasta:
                download(source["url"], path, source["md5"])
            bar = stack.enter_context(BAR(total=path.stat().st_size, desc=f"encode {path.name}"))
            thread = stack.enter_context(ThreadPoolExecutor(1))
            md5 = thread.submit(md5_of, path)  # meanwhile, on another core
            for name, description, pieces in read_fasta(path, bar, seen):
                reason = reason_to_skip(name, description, only, settings)
                if reason:
                    record = dict(name=name, length=count_letters(pieces))
                    left_out.setdefault(reason, []).append(record)
                    continue
                split = split_by_name(name, description, settings) or "train"
                offset = files[split].tell()
                record = encode_record(name, pieces, files[split], path)
                record.update(description=description, split=split, offset=offset)
                (records if record["length"] else empty).append(record)
            source["md5"] = md5.result()
    if empty:
        names = ", ".join(record["name"] for record in empty[:5])
        print(f"skipped, without sequence: {counted(empty)} ({names}): is the file whole?")
    if not records:
        if NOT_NAMED in left_out:
            there = listed([record["name"] for record in left_out[NOT_NAMED]], 5)
            die(f"{origin()} has none of --chroms={chroms}: it has {there}")
        kinds = ", ".join(left_out) or "no sequence"
        die(f"nothing to take from {origin()}, it holds {kinds}: name what to take by --chroms")
    return records, left_out


def held_assembly(splits):
    """The assembly as the settings name it, of a FASTA hg38 if its chromosomes are as long as
    hg38's, else "".
    """
    if assembly or not fasta:
        return assembly or "hg38"
    return "hg38" if is_hg38(splits) else ""


def is_hg38(splits):
    """Whether the chromosomes that hg38 has are there, whole, and as long as its own."""
    rows = [row for split in splits.values() for row in split["chroms"] if row["name"] in HG38]
    same = [row.get("start", 0) == 0 and row["length"] == HG38[row["name"]] for row in rows]
    return bool(same) and all(same)


def write_meta(sources, splits, work):
    """Write meta.json: what data/genome.py reads of it, and for people the assembly, the sources
    with their md5, and each split's bases, N, repeats and GC.
    """
    meta = dict(
        format=FORMAT,
        assembly=held_assembly(splits),
        source=list(sources.values()),
        min_gap=MIN_GAP,
        splits=splits,
    )
    (work / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def print_table(splits):
    """One line for each split; soft-masked and GC are shares of what is not N."""
    print("split   chromosomes         bases             N  soft-masked     GC  gaps")
    for name, split in splits.items():
        acgt = max(split["bases"] - split["N"], 1)
        gaps = sum(len(row["gaps"]) for row in split["chroms"])
        print(
            f"{name:5} {len(split['chroms']):13} {split['bases']:13,} {split['N']:13,} "
            f"{split['repeats'] / acgt:12.1%} {split['gc'] / acgt:6.1%} {gaps:5}"
        )


def print_advice(splits):
    """Say where a split is empty, or is the human benchmark's in another genome."""
    if not splits["val"]["chroms"]:
        print(
            "no val bases: train.py needs some; choose chromosomes by --val_chroms, or tail for "
            "the end of the longest one, into another --out"
        )
    if not splits["test"]["chroms"]:
        print("no test bases: --test_chroms holds some out, tail the end of the longest chromosome")
    if not any(split["repeats"] for split in splits.values()):
        print(
            "warning: no lower-case letters, so repeats are not known and bits of repeats and "
            "unique bases will be nan: a soft-masked FASTA has them (Ensembl's dna_sm)"
        )
    if assembly == "hg38" and fasta and not is_hg38(splits):
        print("warning: --assembly=hg38, but the chromosomes are not all hg38's, whole")
    if may_be_another_species(splits):
        print(
            f"warning: {assembly or 'this'} is not known to be hg38; if it is not human, hold out "
            "what you like by --val_chroms and --test_chroms"
        )


def may_be_another_species(splits):
    """Whether DART-Eval's chromosomes are held out by names that other genomes have too."""
    if "auto" not in (val_chroms, test_chroms) or held_assembly(splits) == "hg38":
        return False
    by_name = False
    for split, names in DART_EVAL.items():
        for row in splits[split]["chroms"]:
            if naming_of(row.get("fasta_name", "1")) != "Ensembl":
                return False  # an accession of the human genome
            by_name = by_name or human_chromosome(row["name"]) in names
    return by_name


if __name__ == "__main__":
    configure(globals())
    main()
