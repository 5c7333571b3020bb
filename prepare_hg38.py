"""FASTA in, one byte per base out: download hg38 from UCSC, check it, encode it, split it by
chromosome.

  python prepare_hg38.py                                  all of hg38 into data/hg38: 1 GB to
                                                          download, 3.1 GB of bases
  python prepare_hg38.py --chroms chr19,chr21,chr22       three chromosomes: a taste of real DNA
  python prepare_hg38.py --assembly mm39                  another genome of UCSC's, into data/mm39
  python prepare_hg38.py --fasta my.fa.gz --out data/my   any FASTA: plain, gzip or bgzip

Without --chroms, of records named chr... the primary ones are taken (no chrM, chrEBV, chrUn, and no
"_" in the name: in hg38 that is chr1-22, X and Y), and every record named in another way. What val
and test do not name is for training.
"""

import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from config import configure, die
from data import FORMAT, MIN_GAP, SPLITS, Genome
from data.download import BAR, download, md5_of
from data.fasta import GZIP_MAGIC, encode_record, read_fasta

fasta = ""  # a FASTA file to prepare, instead of a download
chroms = ""  # only these chromosomes, such as chr19,chr21,chr22; empty: all primary ones
out = ""  # folder to write; empty: data/<assembly>, or data/<name of the FASTA>, beside this script
val_chroms = "auto"  # for validation, may be empty; auto: DART-Eval's chr6,chr21, if there
test_chroms = "auto"  # kept from training, may be empty; auto: chr5,chr10,chr14,chr18,chr20,chr22
assembly = "hg38"  # UCSC's name of the genome: mm39, hs1, ...; with --fasta only a label
url = "https://hgdownload.soe.ucsc.edu/goldenPath"  # where to download from
keep_fasta = True  # keep what was downloaded: another split (--fasta, --out) needs no download then
# ---- end of settings

DART_EVAL = {
    "val": ["chr6", "chr21"],
    "test": ["chr5", "chr10", "chr14", "chr18", "chr20", "chr22"],
}
HG38 = [f"chr{name}" for name in (*range(1, 23), "X", "Y")]
PINNED = {"hg38.fa.gz": "1c9dcaddfa41027f17cd8f7a82c7293b"}  # md5; 983,659,424 bytes
BASES_PER_BYTE = 3.4  # of a gzipped genome


def main():
    started = time.time()
    folder = Path(out or default_folder())
    split_of = assign_splits()
    if fasta and not Path(fasta).is_file():
        problem = "a folder" if Path(fasta).is_dir() else "not there"
        die(f"--fasta={fasta} is {problem}: name a FASTA file")
    known = known_chromosomes()
    if known:
        check_chromosomes(known, split_of)  # before anything is fetched
    old = open_old(folder, known, split_of)
    with working_folder(folder) as work:
        sources = find_sources(folder, work)
        check_disk(sources, folder)
        splits = encode_sources(sources, split_of, work)
        held = [row["name"] for split in splits.values() for row in split["chroms"]]
        check_chromosomes(held, split_of)
        write_meta(sources, splits, work)
        if old and Genome(work).fingerprint != old.fingerprint:
            die_of_another_genome(folder)
        move_into_place(work, folder)
        if not fasta and not keep_fasta:
            for path in sources:
                path.unlink()
    print_table(splits)
    print_advice(splits)
    print(f"{folder} prepared in {time.time() - started:.1f} s")


# ---- which chromosomes, and where they go


def default_folder():
    """data/<name of the FASTA, or of the assembly> beside this script."""
    name = Path(fasta).name.split(".")[0] or assembly
    return Path(__file__).parent / "data" / name


def names_in(text):
    """The names in a setting such as "chr19, chr21"."""
    return [name.strip() for name in text.split(",") if name.strip()]


def named_splits():
    """{"val": names, "test": names} as the settings have them, without a split that is "auto"."""
    named = {"val": names_in(val_chroms), "test": names_in(test_chroms)}
    return {split: names for split, names in named.items() if names != ["auto"]}


def assign_splits():
    """{chromosome: "val" or "test"}; all others are for training. Dies if one is named for both."""
    named = named_splits()
    both = sorted(set(named.get("val", [])) & set(named.get("test", [])))
    if both:
        die(f"{', '.join(both)} is in both --val_chroms and --test_chroms: leave it in one")
    split_of = {}
    for split, names in DART_EVAL.items():
        if split not in named:
            split_of.update(dict.fromkeys(names, split))
    for split, names in named.items():  # last: what the user names goes before the benchmark's
        split_of.update(dict.fromkeys(names, split))
    return split_of


def is_wanted(name, split_of):
    """Whether the record of this name is taken."""
    only = names_in(chroms)
    if only:
        return name in only
    return name in split_of or not re.fullmatch(r"chr(.*_.*|Un.*|M|MT|EBV)", name)


def known_chromosomes():
    """The chromosomes that the genome will hold, where that is known before it is read, else []."""
    if fasta:
        return []
    if assembly == "hg38":
        return names_in(chroms) or HG38
    return names_in(chroms)


def check_chromosomes(held, split_of):
    """Die unless the chromosomes held are all that the settings name, and leave some to train
    on.
    """
    asked = names_in(chroms) + [name for names in named_splits().values() for name in names]
    missing = [name for name in asked if name not in held]
    if missing:
        die(
            f"{', '.join(missing)}: not among what is taken from {origin()} "
            f"({', '.join(held[:30])}): check the names"
        )
    if all(name in split_of for name in held):
        last = held[-1] if len(held) > 1 else ""
        die(
            f"nothing to train on, val and test take all of {', '.join(held)}: "
            f"type --val_chroms={last} --test_chroms="
        )


def origin():
    """What the genome comes from, for messages."""
    return fasta or f"UCSC's {assembly}"


# ---- the folder


def open_old(folder, known, split_of):
    """The Genome that the folder holds already, None if it holds no whole one. Dies if another one
    was asked for, as far as that can be told before the FASTA is read.
    """
    try:
        old = Genome(folder)
    except SystemExit:
        return None
    if known and set(known) != set(old.chroms):
        die_of_another_genome(folder)
    for name, row in old.chroms.items():
        if not is_wanted(name, split_of) or split_of.get(name, "train") != row["split"]:
            die_of_another_genome(folder)
    return old


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
    for name in [f"{split}.bin" for split in SPLITS] + ["meta.json"]:
        (work / name).replace(folder / name)


# ---- the FASTA


def find_sources(folder, work):
    """{path of a FASTA: what meta.json says of it}. What is to be downloaded has its url and md5,
    of UCSC's list. Dies if that list has no md5 of it, or not the one that is known here.
    """
    if fasta:
        return {Path(fasta): {"file": Path(fasta).name}}
    if names_in(chroms):
        base = f"{url}/{assembly}/chromosomes"
        names = [f"{chrom}.fa.gz" for chrom in names_in(chroms)]
    else:
        base = f"{url}/{assembly}/bigZips"
        names = [f"{assembly}.fa.gz"]
    if all(name in PINNED and (folder / name).exists() for name in names):
        md5s = PINNED  # no network is needed
    else:
        md5s = fetch_md5s(base, work)
    sources = {}
    for name in names:
        md5 = md5s.get(name)
        if not md5 or md5 != PINNED.get(name, md5):
            die(
                f"{base}/md5sum.txt has {md5 or 'no md5'} for {name}, not "
                f"{PINNED.get(name, 'one')}: check --chroms and --assembly, "
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
            bases += BASES_PER_BYTE * size
    need = fetch + bases
    free = shutil.disk_usage(folder).free
    print(
        f"{origin()} needs about {need / 1e9:.2f} GB of disk ({fetch / 1e9:.2f} GB of download, "
        f"{bases / 1e9:.2f} GB of bases); {folder} has {free / 1e9:.2f} GB",
        flush=True,
    )
    if need > free:
        die(
            f"{folder} has too little disk for {need / 1e9:.2f} GB: "
            "free some, or choose another --out"
        )


def download_size(url):
    """Bytes to download, 0 if the server does not say."""
    try:
        reply = requests.head(url, allow_redirects=True, timeout=60)
    except requests.RequestException:
        return 0
    return int(reply.headers.get("Content-Length", 0))


def text_size(path):
    """About how many bytes of text a FASTA holds, plain or gzip."""
    with open(path, "rb") as file:
        magic = file.read(2)
        size = file.seek(0, 2)
        if magic != GZIP_MAGIC:
            return size
        file.seek(max(size - 4, 0))  # gzip ends with the size of its text, modulo 2**32
        return max(BASES_PER_BYTE * size, int.from_bytes(file.read(), "little"))


# ---- the genome


def encode_sources(sources, split_of, work):
    """Encode the FASTAs, downloading what is not there -> {split: what meta.json says of it}. Adds
    the file's md5 to each source.
    """
    splits = {split: dict(bases=0, N=0, repeats=0, gc=0, chroms=[]) for split in SPLITS}
    for split in SPLITS:
        (work / f"{split}.bin").touch()  # a split may stay empty
    seen = set()
    for path, source in sources.items():
        if not fasta:
            download(source["url"], path, source["md5"])
        size = path.stat().st_size
        with BAR(total=size, desc=f"encode {path.name}") as bar, ThreadPoolExecutor(1) as thread:
            md5 = thread.submit(md5_of, path)  # meanwhile, on another core
            for name, pieces in read_fasta(path, bar, seen):
                if not is_wanted(name, split_of):
                    continue
                split = split_of.get(name, "train")
                with open(work / f"{split}.bin", "ab") as file:
                    row, counts = encode_record(name, pieces, file, path)
                total = splits[split]
                total["chroms"].append({**row, "offset": total["bases"]})
                for key, count in counts.items():
                    total[key] += count
            source["md5"] = md5.result()
    return splits


def write_meta(sources, splits, work):
    """Write meta.json; data/genome.py says what is in it."""
    meta = dict(
        format=FORMAT,
        assembly=assembly,
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
            "no val bases: train.py needs some; choose chromosomes by --val_chroms, "
            "into another --out"
        )
    if not splits["test"]["chroms"]:
        print("no test bases")
    if assembly != "hg38" and "auto" in (val_chroms, test_chroms):
        print(
            "val and test are the chromosomes of the human benchmark: "
            f"for {assembly} choose your own by --val_chroms and --test_chroms"
        )


if __name__ == "__main__":
    configure(globals())
    main()
