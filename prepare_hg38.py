"""FASTA in, one byte per base out: download hg38 from UCSC, check it, encode it, split it by chromosome.

    python prepare_hg38.py                                  all of hg38 (1 GB to download, 3.1 GB of bases) into data/hg38
    python prepare_hg38.py --chroms chr19,chr21,chr22       three chromosomes only: a quick taste of real DNA
    python prepare_hg38.py --assembly mm39                  another genome of UCSC's, into data/mm39
    python prepare_hg38.py --fasta my.fa.gz --out data/my   a FASTA of any genome: plain, gzip or bgzip

Without --chroms, records named chr... are taken where they are primary chromosomes (not chrM, chrEBV, chrUn, nor with a "_" in
the name: chr1-22, X, Y of hg38), and all records named in another way. What val and test do not name is for training.
"""
import errno
import hashlib
import json
import re
import shutil
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import numpy as np
import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from config import configure, die
from data import FORMAT, MIN_GAP, N, SPLITS, Genome, encode

fasta = ""  # a FASTA file to prepare, instead of a download
chroms = ""  # only these chromosomes, such as chr19,chr21,chr22 (empty: all primary ones)
out = ""  # the folder to write (empty: data/<assembly> beside this script)
val_chroms = "auto"  # to validate on; auto: those of DART-Eval's chr6,chr21 that the FASTA holds; may be empty
test_chroms = "auto"  # never trained on; auto: likewise chr5,chr10,chr14,chr18,chr20,chr22
assembly = "hg38"  # UCSC's name of the genome: mm39, hs1, ...; with --fasta only a label
url = "https://hgdownload.soe.ucsc.edu/goldenPath"  # where to download from
keep_fasta = True  # keep what was downloaded: another split (--fasta, --out) then needs no download

DART = {"val": ["chr6", "chr21"], "test": ["chr5", "chr10", "chr14", "chr18", "chr20", "chr22"]}
HG38 = [f"chr{c}" for c in (*range(1, 23), "X", "Y")]
HG38_MD5 = "1c9dcaddfa41027f17cd8f7a82c7293b"  # of UCSC's hg38.fa.gz, 983,659,424 bytes
NOT_PRIMARY = re.compile(r"chr(.*_.*|Un.*|M|MT|EBV)")
BLOCK = 1 << 19  # bytes of text at a time: small enough for a CPU's cache
BAD = 255  # in TABLE: not a nucleotide code of IUPAC
TABLE = bytes(encode(bytes([c]))[0] if c in b"ACGTNRYSWKMBDHVacgtnryswkmbdhv" else BAD for c in range(256))


def progress(total, what, done=0):
    """A bar with rate and ETA for what takes over a second; where nobody is watching, a line every 10 seconds."""
    return tqdm(total=total, initial=done, desc=what, unit="B", unit_scale=True, delay=1,
                mininterval=0.2 if sys.stderr.isatty() else 10)


def md5_of(path):
    """The md5 of a file, as hex digits."""
    md5 = hashlib.md5()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            md5.update(block)
    return md5.hexdigest()


def download(url, path, md5=None, delay=1.0, tries=5, hint="check the address"):
    """Fetch url to path, whole and with that md5, or not at all; what has come stays in path.part for the next call to resume.

    What may pass (no connection, a dropped one, HTTP 5xx, 408, 429) is tried again after delay, 2 delay, 4 delay... seconds,
    until `tries` attempts in a row brought nothing. Dies then, on any other HTTP error, and on a wrong md5. A file that is
    already there is not fetched again; it must have that md5.
    """
    path, part, failures = Path(path), Path(f"{path}.part"), 0
    if path.exists():
        return md5 in (None, md5_of(path)) or die(f"{path} is not {url} (another md5): remove it, or give it as --fasta")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        before = have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as reply:
                if reply.status_code == 416 and have:  # nothing beyond what is here: it is whole, or of another file
                    if reply.headers.get("Content-Range") == f"bytes */{have}":
                        break
                    part.unlink()
                elif 400 <= reply.status_code < 500 and reply.status_code not in (408, 429):
                    die(f"{url}: {reply.status_code} {reply.reason}: {hint}")
                if reply.status_code not in (200, 206):
                    raise ConnectionError(f"{reply.status_code} {reply.reason}")
                if not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    have = 0  # the server ignores Range: from the start
                size = have + int(reply.headers["Content-Length"]) if "Content-Length" in reply.headers else None
                with open(part, "ab" if have else "wb") as file, progress(size, path.name, have) as bar:
                    for block in reply.raw.stream(1 << 20, decode_content=False):
                        file.write(block)
                        bar.update(len(block))
            if size in (None, part.stat().st_size):
                break
            raise ConnectionError(f"dropped at {part.stat().st_size:,} of {size:,} bytes")
        except (requests.RequestException, HTTPError, ConnectionError, TimeoutError) as error:
            reason = str(error) if isinstance(error, ConnectionError) else f"connection failed ({type(error).__name__})"
            failures = 1 if part.exists() and part.stat().st_size > before else failures + 1
            if failures >= tries:
                die(f"{url}: {reason}: check the network and type the same again" + ": it resumes" * part.exists())
            print(f"{path.name}: {reason}: trying again in {min(60, delay * 2 ** (failures - 1)):.0f} s", file=sys.stderr)
            time.sleep(min(60, delay * 2 ** (failures - 1)))
    if md5 not in (None, found := md5_of(part)):
        part.unlink()
        die(f"{url} came with md5 {found} instead of {md5}: removed; type the same again, or check the source")
    part.replace(path)


def blocks(path, md5, bar):
    """Yield the text of a FASTA in blocks of at most BLOCK bytes, gunzipped where it is gzip; md5 sees the file as it is."""
    inflate, gzipped = None, None
    with open(path, "rb") as file:
        while chunk := file.read(BLOCK // 4):
            gzipped = chunk.startswith(b"\x1f\x8b") if gzipped is None else gzipped
            md5.update(chunk)
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


def ahead(items):
    """The same items, each made in a thread while the one before is used: zlib and md5 let go of the interpreter."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, items, None)
        while (item := future.result()) is not None:
            future = thread.submit(next, items, None)
            yield item


def records(texts, path, seen):
    """Yield (name, letters with their line ends) in pieces, at each header (name, b"") first; seen collects the names."""
    name, header, fresh = None, None, True  # header: the part of one that has come; fresh: at the start of a line
    for text in texts:
        while text:
            if header is not None:
                line, end, text = text.partition(b"\n")
                header += line
                if end:
                    name, header, fresh = header[:1000].decode("utf-8", "replace").partition(" ")[0].strip(), None, True
                    if not name or name in seen:
                        die(f"{path}: " + (f"two records named {name}" if name else "a record without a name") + ": mend the FASTA")
                    seen.add(name)
                    yield name, b""
                continue
            letters, mark, text = text.partition(b">")
            fresh = letters.endswith(b"\n") if letters else fresh
            if name is not None:
                yield name, letters
            elif letters.strip():
                page = letters.lstrip().startswith(b"<")
                die(f"{path}: " + ("an HTML page, not a FASTA" if page else "not a FASTA: text before the first '>'"))
            if mark and not fresh:
                die(f"{path}: a '>' inside a line of {name}: not a FASTA, or a damaged one")
            header = b"" if mark else None
    if name is None or header is not None:
        die(f"{path}: " + ("it ends inside a header" if header else "empty: no FASTA record in it"))


def encode_chromosome(name, pieces, file, path):
    """Write a record's bases to file; returns {name, length, md5, gaps} and the counts (N, repeats, gc), N not among the latter."""
    md5, length, last, repeats, gc, edges = hashlib.md5(), 0, 0, 0, 0, []
    for piece in pieces:
        letters = piece.translate(None, b" \t\r\n")
        if not letters:
            continue
        bases = np.frombuffer(letters.translate(TABLE), np.uint8)
        if bases.max() == BAD:
            at = int(bases.argmax())
            die(f"{path}: {name} has {chr(letters[at])!r} at base {length + at:,}: not DNA (a protein or damaged FASTA?)")
        file.write(bases)
        md5.update(np.frombuffer(letters, np.uint8) & 0xDF)  # & 0xDF: upper case
        unknown = bases & N  # only N has this bit
        edges += [[length]] * (unknown[0] != last) + [np.flatnonzero(unknown[1:] != unknown[:-1]) + length + 1]
        repeats += np.count_nonzero(bases - 8 < np.uint8(4))
        gc += np.count_nonzero((bases & 7) - 1 < np.uint8(2))
        last, length = unknown[-1], length + len(bases)
    if not length:
        die(f"{path}: {name} has no sequence: truncated?")
    runs = np.concatenate([*edges, [length] * bool(last)]).astype(np.int64).reshape(-1, 2)
    gaps = runs[runs[:, 1] - runs[:, 0] >= MIN_GAP].tolist()
    return dict(name=name, length=length, md5=md5.hexdigest(), gaps=gaps), (int((runs[:, 1] - runs[:, 0]).sum()), repeats, gc)


def names(text):
    """"chr1, chr2" -> ["chr1", "chr2"], each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def prepare(fasta, chroms, out, val_chroms, test_chroms, assembly, url, keep_fasta, delay=1.0):
    """Everything that this script does, with its settings; delay: see download()."""
    started, chroms = time.time(), names(chroms)
    explicit = {split: names(text) for split, text in (("val", val_chroms), ("test", test_chroms)) if text != "auto"}
    taken = set().union(*explicit.values())  # a chromosome named for one split leaves the other's default
    held_out = {split: explicit.get(split) or [c for c in DART[split] if c not in taken] ...
