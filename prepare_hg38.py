"""FASTA in, one byte per base out: download hg38 from UCSC, check it, encode it, split it by chromosome.

    python prepare_hg38.py                                  all of hg38 (1 GB to download, 3.1 GB of bases) into data/hg38
    python prepare_hg38.py --chroms chr19,chr21,chr22       three chromosomes only: a quick taste of real DNA
    python prepare_hg38.py --assembly mm39                  another genome of UCSC's, into data/mm39
    python prepare_hg38.py --fasta my.fa.gz --out data/my   a FASTA of any genome: plain, gzip or bgzip

Without --chroms, of records named chr... the primary ones are taken (no chrM, chrEBV, chrUn, and no "_" in the name: in hg38
that is chr1-22, X and Y), and every record named in another way. What val and test do not name is for training.
"""
import hashlib
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, groupby
from pathlib import Path

import numpy as np
import requests

try:
    from isal import isal_zlib as zlib  # the same, three times as fast where it is installed: pip install isal
except ImportError:
    import zlib

from config import configure, die
from data import FORMAT, MIN_GAP, SPLITS, Genome, encode
from data.download import BAR, download

fasta = ""            # a FASTA file to prepare, instead of a download
chroms = ""           # only these chromosomes, such as chr19,chr21,chr22; empty: all primary ones
out = ""              # the folder to write; empty: data/<assembly>, or data/<name of the FASTA>, beside this script
val_chroms = "auto"   # chromosomes to validate on; auto: those of DART-Eval's chr6,chr21 that the FASTA holds; may be empty
test_chroms = "auto"  # chromosomes kept from training; auto: likewise chr5,chr10,chr14,chr18,chr20,chr22
assembly = "hg38"     # UCSC's name of the genome: mm39, hs1, ...; with --fasta only a label
url = "https://hgdownload.soe.ucsc.edu/goldenPath"  # where to download from
keep_fasta = True     # keep what was downloaded: another split (--fasta, --out) then needs no download

DART = {"val": ["chr6", "chr21"], "test": ["chr5", "chr10", "chr14", "chr18", "chr20", "chr22"]}
HG38 = [f"chr{c}" for c in (*range(1, 23), "X", "Y")]
PINNED = {"hg38.fa.gz": "1c9dcaddfa41027f17cd8f7a82c7293b"}  # md5; 983,659,424 bytes
BLOCK = 1 << 19  # bytes of text at a time: small enough for a CPU's cache
TABLE = bytes(encode(bytes([c]))[0] if c in b"ACGTNRYSWKMBDHVacgtnryswkmbdhv" else 255 for c in range(256))  # 255: no base
THREAD = ThreadPoolExecutor(1)  # for md5, which leaves the interpreter to the rest meanwhile: a fifth faster


def blocks(path, md5, bar):
    """Yield the text of a FASTA in blocks of at most BLOCK bytes, gunzipped where it is gzip; md5 sees the file as it is."""
    inflate, gzipped = None, None
    with open(path, "rb") as file:
        while chunk := file.read(BLOCK // 4):
            gzipped = chunk.startswith(b"\x1f\x8b") if gzipped is None else gzipped
            THREAD.submit(md5.update, chunk)
            bar.update(len(chunk))
            while gzipped and (chunk := chunk.lstrip(b"\0") if inflate and inflate.eof else chunk):  # zeros may fill it up
                if inflate is None or inflate.eof:
                    inflate = zlib.decompressobj(31)  # the next member: bgzip has one for each 64 KB
                try:
                    yield inflate.decompress(chunk, BLOCK)
                except zlib.error as error:
                    die(f"{path}: damaged gzip ({error}): fetch it again")
                chunk = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            yield chunk
    if gzipped and not inflate.eof:
        die(f"{path}: truncated gzip, its end is missing: fetch it again")


def records(texts, path, seen):
    """Yield (name, letters with their line ends) in pieces, one at least for each header; seen collects the names."""
    name, rest = None, b"\n"
    for text in chain(texts, [b"\n"]):
        text = rest + text
        parts = text.split(b"\n>") if b">" in text else [text]
        unfinished = len(parts) > 1 and b"\n" not in parts[-1]  # a header that goes on in the next text
        rest = b"\n>" + parts.pop() if unfinished else b"\n" if text.endswith(b"\n") else b""
        for i, letters in enumerate(parts):
            if i:
                header, _, letters = letters.partition(b"\n")
                name = (header.decode("utf-8", "replace").split() or [""])[0]
                if not name or name in seen:
                    die(f"{path}: {'two records named ' + name if name else 'a record without a name'}: mend the FASTA")
                seen.add(name)
            if name is None and letters.strip() or len(rest) > BLOCK:
                page = " (a web page?)" * letters.lstrip().startswith(b"<")
                die(f"{path}: not a FASTA, it does not start with '>' and a name{page}: fetch it again")
            yield name, letters
    if name is None:
        die(f"{path}: empty, no FASTA record in it: fetch it again")


def encode_record(name, pieces, file, path):
    """Write a record's bases to file -> {name, length, md5, gaps} and {bases, N, repeats, gc}; the last two count no N."""
    md5, length, last, repeats, gc, edges, hashed = hashlib.md5(), 0, 0, 0, 0, [], THREAD.submit(int)
    for _, piece in pieces:
        letters = piece.replace(b"\n", b"")  # a third of translate's time, which other white space needs
        if not (letters := letters.translate(None, b" \t\r") if any(c in letters for c in (b" ", b"\t", b"\r")) else letters):
            continue
        bases = np.frombuffer(letters.translate(TABLE), np.uint8)
        if bases.max() == 255:
            at = int(bases.argmax())
            die(f"{path}: {name} has {chr(letters[at])!r} at base {length + at:,}: not DNA (a protein? a damaged file?)")
        file.write(bases)
        hashed.result()  # one block may wait, not more
        hashed = THREAD.submit(md5.update, np.frombuffer(letters, np.uint8) & 0xDF)  # upper case
        unknown = bases & 4  # the bit that only N has
        if last or unknown.any():
            edges += [length] * bool(unknown[0] != last) + (np.flatnonzero(unknown[1:] != unknown[:-1]) + length + 1).tolist()
        repeats += int(np.count_nonzero(bases - 8 < np.uint8(4)))
        gc += int(np.count_nonzero((bases & 7) - 1 < np.uint8(2)))
        last, length = unknown[-1], length + len(bases)
    hashed.result()
    if not length:
        die(f"{path}: {name} has no sequence: is the file truncated?")
    runs = np.array(edges + [length] * bool(last), np.int64).reshape(-1, 2)
    sizes = runs[:, 1] - runs[:, 0]
    row = dict(name=name, length=length, md5=md5.hexdigest(), gaps=runs[sizes >= MIN_GAP].tolist())
    return row, dict(bases=length, N=int(sizes.sum()), repeats=repeats, gc=gc)


def space(path, url):
    """(bytes to download, bytes of bases, about) for a file that is here, or else at url."""
    if not path.exists():
        with suppress(requests.RequestException):
            size = int(requests.head(url, allow_redirects=True, timeout=60).headers.get("Content-Length", 0))
            return size, 3.4 * size  # a gzipped genome has 3.4 bases per byte
        return 0, 0
    with open(path, "rb") as file:
        magic, size = file.read(2), file.seek(0, 2)
        file.seek(max(size - 4, 0))  # gzip ends with the size of its text
        return 0, max(3.4 * size, int.from_bytes(file.read(), "little")) if magic == b"\x1f\x8b" else size


def prepare(fasta, chroms, out, val_chroms, test_chroms, assembly, url, keep_fasta, delay=1.0):
    """The whole script, as a function of its settings; delay: download()'s."""
    started, out = time.time(), Path(out or Path(__file__).parent / "data" / (Path(fasta).name.split(".")[0] or assembly))
    chroms, val, test = ([c.strip() for c in text.split(",") if c.strip()] for text in (chroms, val_chroms, test_chroms))
    named = {split: names for split, names in (("val", val), ("test", test)) if names != ["auto"]}
    home = {c: split for split in sorted(DART, key=named.__contains__) for c in named.get(split, DART[split])}
    origin, base = fasta or f"UCSC's {assembly}", f"{url}/{assembly}/{'chromosomes' if chroms else 'bigZips'}"

    def wanted(name):
        return name in chroms if chroms else name in home or not re.fullmatch(r"chr(.*_.*|Un.*|M|MT|EBV)", name)

    def check(held):
        if missing := [c for c in sum(named.values(), chroms) if c not in held]:
            die(f"{', '.join(missing)}: not among what is taken from {origin} ({', '.join(held[:30])}): check the names")
        if all(c in home for c in held):
            die(f"nothing to train on, val and test take all of {', '.join(held)}: "
                f"type --val_chroms={','.join(held[1:][-1:])} --test_chroms=")

    if both := set(named.get("val", [])) & set(named.get("test", [])):
        die(f"{', '.join(sorted(both))} is in both --val_chroms and --test_chroms: leave it in one")
    if fasta and not Path(fasta).is_file():
        die(f"--fasta={fasta} is {'a folder' if Path(fasta).is_dir() else 'not there'}: name a FASTA file")
    if known := [] if fasta else chroms or HG38 * (assembly == "hg38"):
        check(known)  # before anything is fetched
    old, other = None, f"{out} already holds another genome or another split: choose another --out, or remove that folder"
    with suppress(SystemExit):
        old = Genome(out)  # else there is nothing whole to keep
    if old and (known and set(known) != set(old.chroms)
                or any(not wanted(c) or home.get(c, "train") != row["split"] for c, row in old.chroms.items())):
        die(other)
    work = out / ".preparing"  # everything is made here, then moved
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        sources = {Path(fasta): {"file": Path(fasta).name}}
        if not fasta:
            sources = {out / f"{c}.fa.gz": {"url": f"{base}/{c}.fa.gz"} for c in chroms or [assembly]}
            listed = PINNED
            if not all(path.name in PINNED and path.exists() for path in sources):  # else no network is needed
                download(f"{base}/md5sum.txt", work / "md5sum.txt", delay=delay, hint="check --assembly and --chroms")
                text = (work / "md5sum.txt").read_text(errors="replace")
                listed = {name: md5 for md5, name in re.findall(r"(\w{32}) [ *]?(?:\./)?(\S+)", text)}
            for path, source in sources.items():
                source["md5"] = md5 = listed.get(path.name)
                if not md5 or md5 != PINNED.get(path.name, md5):
                    die(f"{base}/md5sum.txt has {md5 or 'no md5'} for {path.name}, not {PINNED.get(path.name, 'one')}: "
                        "check --chroms and --assembly, or fetch the file yourself and give it as --fasta")
        fetch, bases = (sum(sizes) for sizes in zip(*(space(path, source.get("url")) for path, source in sources.items())))
        free = shutil.disk_usage(out).free
        print(f"{origin} needs about {(fetch + bases) / 1e9:.2f} GB of disk ({fetch / 1e9:.2f} GB of download, "
              f"{bases / 1e9:.2f} GB of bases); {out} has {free / 1e9:.2f} GB", flush=True)
        if fetch + bases > free:
            die(f"{out} has too little disk for {(fetch + bases) / 1e9:.2f} GB: free some, or choose another --out")
        splits, seen = {split: dict(bases=0, N=0, repeats=0, gc=0, chroms=[]) for split in SPLITS}, set()
        for split in SPLITS:
            (work / f"{split}.bin").touch()
        for path, source in sources.items():
            if not fasta:
                download(source["url"], path, source["md5"], delay)
            md5 = hashlib.md5()
            with BAR(total=path.stat().st_size, desc=f"encode {path.name}") as bar:
                for name, pieces in groupby(records(blocks(path, md5, bar), path, seen), lambda piece: piece[0]):
                    if name is None or not wanted(name):
                        continue
                    split = home.get(name, "train")
                    with open(work / f"{split}.bin", "ab") as file:
                        row, counts = encode_record(name, pieces, file, path)
                    splits[split]["chroms"].append({**row, "offset": splits[split]["bases"]})
                    for key, count in counts.items():
                        splits[split][key] += count
            source["md5"] = THREAD.submit(md5.hexdigest).result()  # after all of its updates
        check([row["name"] for split in splits.values() for row in split["chroms"]])
        meta = dict(format=FORMAT, assembly=assembly, source=list(sources.values()), min_gap=MIN_GAP, splits=splits)
        (work / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
        if old and Genome(work).fingerprint != old.fingerprint:
            die(other)
        (out / "meta.json").unlink(missing_ok=True)
        for name in (*(f"{split}.bin" for split in SPLITS), "meta.json"):
            (work / name).replace(out / name)
        for path in () if fasta or keep_fasta else sources:
            path.unlink()
    except OSError as error:
        die(f"{error.strerror or error} ({error.filename or out}): nothing was prepared; make room, or choose another --out")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):
            out.rmdir()  # only where nothing is left in it
    print("split   chromosomes         bases             N  soft-masked     GC  gaps")
    for name, s in splits.items():
        acgt = max(s["bases"] - s["N"], 1)
        print(f"{name:5} {len(s['chroms']):13} {s['bases']:13,} {s['N']:13,} {s['repeats'] / acgt:12.1%} "
              f"{s['gc'] / acgt:6.1%} {sum(len(row['gaps']) for row in s['chroms']):5}")
    for split in ("val", "test"):
        if not splits[split]["chroms"]:
            print(f"no {split} bases" + ": train.py needs some; choose chromosomes by --val_chroms, into another --out" * (split == "val"))
    if assembly != "hg38" and "auto" in (val_chroms, test_chroms):
        print(f"val and test are the chromosomes of the human benchmark: for {assembly} choose your own by --val_chroms and --test_chroms")
    print(f"{out} prepared in {time.time() - started:.1f} s")


if __name__ == "__main__":
    prepare(**configure(globals()))
