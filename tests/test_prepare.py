"""prepare_hg38.py: the download against a server that misbehaves, the encoding against a naive one,
and every bad input.
"""

import bz2
import errno
import gzip
import hashlib
import http.server
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare_hg38
from data import MIN_GAP, Genome, decode, files
from data import download as fetching
from data.download import download
from tests.conftest import gaps_of, one_line_error, random_dna

ROOT = Path(__file__).parent.parent
PREPARED = ["meta.json", "test.bin", "train.bin", "val.bin"]  # all that a prepared folder holds


def md5(content):
    return hashlib.md5(content).hexdigest()


def prepare(**settings):
    """The script with its default settings but for these, and no waiting."""
    changed = {"ccre": ""}
    for key, value in settings.items():
        changed[key] = str(value) if isinstance(value, Path) else value
    changed["download"] = partial(download, delay=0)
    with mock.patch.multiple(prepare_hg38, **changed):
        prepare_hg38.main()


def refused(*words, **settings):
    """The script must end with one line that holds the words."""
    with pytest.raises(SystemExit) as error:
        prepare(**settings)
    line = str(error.value)
    assert line.startswith("error: ") and "\n" not in line, line
    assert all(word in line for word in words), line


def names_of_files(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# the download


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.files. server.faults[path] is what goes wrong, request by request, before all
    goes well: an HTTP status, "drop", "wrong byte" or "ignore range".
    """

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET(head=True)

    def do_GET(self, head=False):
        server = self.server
        start = 0
        fault = None
        if not head:
            server.requests.append((self.path, self.headers.get("Range")))
            if server.faults.get(self.path):
                fault = server.faults[self.path].pop(0)
        if self.path not in server.files or isinstance(fault, int):
            return self.send_error(fault or 404)
        content = server.files[self.path]
        if self.headers.get("Range") and fault != "ignore range":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        part = content[start:]
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if fault == "wrong byte":
            part = part[:-1] + bytes([part[-1] ^ 1])
        if fault == "drop":
            part = part[: len(part) // 2]
        if not head:
            server.sent += len(part)
            self.wfile.write(part)


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files = {}
    server.faults = {}
    server.requests = []  # (path, Range) of each
    server.sent = 0  # bytes
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


CONTENT = np.random.default_rng(0).bytes(100_000)
CONTENT_MD5 = md5(CONTENT)


@pytest.fixture
def fetch(server, tmp_path):
    """fetch(*faults): download CONTENT from a server with these faults; all of it has to come."""

    def fetch(*faults):
        server.files["/x"] = CONTENT
        server.faults["/x"] = list(faults)
        download(f"{server.url}/x", tmp_path / "x", CONTENT_MD5, delay=0)
        assert (tmp_path / "x").read_bytes() == CONTENT
        assert not (tmp_path / "x.part").exists()

    return fetch


def test_download(fetch, server):
    fetch()
    fetch()  # it is there: nothing to fetch
    assert server.requests == [("/x", None)]


def test_download_resumes_after_drops(fetch, server):
    fetch("drop", "drop", "drop")
    assert len(server.requests) == 4 and server.sent < 1.01 * len(CONTENT)
    ranges = [text for _, text in server.requests]
    # each from one byte back
    assert ranges == [None, "bytes=49999-", "bytes=74998-", "bytes=87498-"]


def test_download_where_range_is_ignored(fetch, server):
    fetch("drop", "ignore range")
    assert server.sent == 1.5 * len(CONTENT)


@pytest.mark.parametrize("wrong", (b"", b"short", CONTENT + b"longer than the file"))
def test_download_resumes_what_an_earlier_run_left(fetch, server, tmp_path, wrong):
    write(tmp_path / "x.part", CONTENT[:60_000])
    fetch()
    assert server.sent == 40_001
    (tmp_path / "x").unlink()
    write(tmp_path / "x.part", CONTENT)  # all of it
    fetch()
    assert server.sent == 40_002
    (tmp_path / "x").unlink()
    write(tmp_path / "x.part", wrong)
    if wrong == b"short":  # of another file: only the md5 can tell
        with pytest.raises(SystemExit, match="md5"):
            fetch()
    fetch()


def test_download_of_a_wrong_byte(fetch, tmp_path):
    with pytest.raises(SystemExit, match=f"not {md5(CONTENT)}.*removed"):
        fetch("wrong byte")
    assert list(tmp_path.iterdir()) == []
    fetch()


def test_download_gives_up_at_once_on_404(server, tmp_path):
    with pytest.raises(SystemExit, match="404 Not Found: check the address"):
        download(f"{server.url}/nothing", tmp_path / "x")
    assert len(server.requests) == 1 and list(tmp_path.iterdir()) == []


def test_download_backs_off(fetch, server, monkeypatch, tmp_path):
    pauses = []
    monkeypatch.setattr(fetching.time, "sleep", pauses.append)
    fetch(503, 500, "drop", 429)
    assert len(server.requests) == 5
    (tmp_path / "x").unlink()
    server.faults["/x"] = [503] * 9
    pauses.clear()
    with pytest.raises(SystemExit, match="503 .*type the same again"):
        download(f"{server.url}/x", tmp_path / "x", delay=1)
    assert pauses == [1, 2, 4, 8] and not (tmp_path / "x").exists()


def test_download_without_network(tmp_path, server):
    server.server_close()
    with pytest.raises(SystemExit, match="connection failed .*: check the network"):
        download(f"{server.url}/x", tmp_path / "x", delay=0)
    assert list(tmp_path.iterdir()) == []


def test_download_does_not_replace_another_file(fetch, server, tmp_path):
    write(tmp_path / "x", b"mine")
    with pytest.raises(SystemExit, match="remove it"):
        fetch()
    assert (tmp_path / "x").read_bytes() == b"mine" and server.requests == []


# the genome


def naive(text):
    """{name: (letters, md5, gaps)} of a FASTA, line by line and base by base."""
    held = {}
    name = None
    for line in text.replace("\r", "").split("\n"):
        if line.startswith(">"):
            name = line[1:].split()[0]
            held[name] = ""
        elif name:
            held[name] += line.strip()
    out = {}
    for name, letters in held.items():
        plain = re.sub("[^ACGTa-z]", "N", letters)
        plain = re.sub("[^acgtA-Z]", "n", plain)
        out[name] = plain, md5(letters.upper().encode()), gaps_of(letters)
    return out


def agrees(folder, text):
    """A prepared folder must hold what the FASTA's text says: letters, coordinates, checksums, gaps
    and counts.
    """
    genome = Genome(folder)
    expected = naive(text)
    assert set(genome.chroms) == set(expected)
    assert names_of_files(folder) == PREPARED
    for name, (letters, checksum, gaps) in expected.items():
        row = genome.chroms[name]
        assert decode(genome.fetch(name, 0, row["length"])) == letters
        assert (row["length"], row["md5"], row["gaps"]) == (len(letters), checksum, gaps)
    for split in genome.meta["splits"].values():
        letters = "".join(expected[row["name"]][0] for row in split["chroms"])
        counts = {
            "bases": len(letters),
            "N": sum(c in "Nn" for c in letters),
            "repeats": sum(c in "acgt" for c in letters),
            "gc": sum(c in "CGcg" for c in letters),
        }
        assert {key: split[key] for key in counts} == counts
    return genome


def bgzip(content, size=700):
    """Members of `size` bytes each, and an empty one at the end."""
    parts = [content[i : i + size] for i in range(0, len(content), size)] + [b""]
    return b"".join(gzip.compress(part) for part in parts)


pieces = st.one_of(
    st.text("ACGTacgtNnRYSWKMBDHVk", min_size=1, max_size=90),
    st.integers(MIN_GAP - 2, 150).map("N".__mul__),
)
sequences = st.lists(pieces, min_size=1, max_size=4).map("".join)


@given(
    st.lists(sequences, min_size=1, max_size=4),
    st.integers(1, 90),
    st.sampled_from(("\n", "\r\n", "\n\n", "\r")),
    st.sampled_from((bytes, gzip.compress, bgzip, bz2.compress, lzma.compress)),
    st.integers(16, 100),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_fasta_gives_what_a_naive_encoder_gives(
    sequences, width, newline, pack, block, last_newline
):
    lines = []
    for name, letters in zip(("chr1", "chr6", "chr5", "chr2"), sequences):
        lines.append(f">{name} described > as such")
        lines += [letters[i : i + width] for i in range(0, len(letters), width)]
    text = newline.join(lines) + newline * last_newline
    held_out = dict(val_chroms="chr6", test_chroms="chr5")
    if len(sequences) < 3:
        held_out["test_chroms"] = ""
    if len(sequences) < 2:
        held_out["val_chroms"] = ""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(files, "BLOCK", block):
        path = write(Path(folder) / "x", pack(text.encode()))
        prepare(fasta=path, out=Path(folder) / "out", **held_out)
        genome = agrees(Path(folder) / "out", text.replace("\r", "\n"))
    split_of = {"chr1": "train", "chr6": "val", "chr5": "test", "chr2": "train"}
    assert all(row["split"] == split_of[name] for name, row in genome.chroms.items())


def test_headers_and_gaps_on_every_side_of_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 16)
    text = f">chr1\n{'N' * 49}A{'N' * 50}C\nG{'n' * 51}\nT\n>chr6\nACGT\n>chr2\nNN{'N' * 48}\n"
    for shift in range(16):
        shifted = "\n" * shift + text
        prepare(fasta=write(tmp_path / "x.fa", shifted), out=tmp_path / f"{shift}")
        genome = agrees(tmp_path / f"{shift}", shifted)
        assert genome.chroms["chr1"]["gaps"] == [[50, 100], [102, 153]]


def test_known_bases_at_known_loci(tmp_path):
    rng = np.random.default_rng(1)
    long = "".join(rng.choice(list("ACGT"), 2_000_000))  # several blocks
    text = ">chr1 x\n" + "N" * 70 + "\nACGTacgtRYn\n" + long + "\n>chr21\nGATTACA\n>chr22\nc\n"
    packed = gzip.compress(text.encode(), 1)
    prepare(fasta=write(tmp_path / "x.fa.gz", packed), out=tmp_path / "out")
    genome = Genome(tmp_path / "out")
    assert decode(genome.fetch("chr1", 68, 82)) == "NNACGTacgtNNn" + long[0]
    assert decode(genome.fetch("chr1", 1_500_081, 1_500_101)) == long[1_500_000:1_500_020]
    assert decode(genome.fetch("chr21", 4, 9)) == "ACANN" and decode(genome.bases("test")) == "c"
    assert genome.chroms["chr1"]["gaps"] == [[0, 70]]
    assert genome.chroms["chr21"]["md5"] == md5(b"GATTACA")
    assert genome.meta["source"] == [{"file": "x.fa.gz", "md5": md5(packed)}]
    # no assembly is claimed that was not named
    assert (genome.meta["assembly"], genome.meta["min_gap"]) == ("", MIN_GAP)


def test_a_genome_that_is_called_hg38_and_is_not(tmp_path, capsys, monkeypatch):
    mine = write(tmp_path / "x.fa", ">chr1\nACGTACGT\n>chr21\nGATTACA\n")
    prepare(fasta=mine, out=tmp_path / "a", assembly="hg38")
    assert "warning: --assembly=hg38, but" in capsys.readouterr().out
    monkeypatch.setattr(prepare_hg38, "HG38", {"chr1": 8, "chr21": 7})
    prepare(fasta=mine, out=tmp_path / "b", assembly="hg38")
    assert "--assembly=hg38, but" not in capsys.readouterr().out
    prepare(fasta=mine, out=tmp_path / "c")
    assert Genome(tmp_path / "c").meta["assembly"] == "hg38"


def bgzf(content, size=7, whole=True):
    """bgzip's format: members that say their own size, then an empty one if it is whole."""
    members = []
    parts = [content[i : i + size] for i in range(0, len(content), size)]
    for part in parts + [b""] * whole:
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(part) + deflate.flush()
        header = b"\x1f\x8b\x08\x04" + bytes(4) + b"\0\xff\x06\0BC\x02\0"
        total = len(header) + 2 + len(body) + 8
        ends = struct.pack("<II", zlib.crc32(part), len(part))
        members.append(header + struct.pack("<H", total - 1) + body + ends)
    return b"".join(members)


UNPACK = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress}
PACKED_PARTS = [gzip.compress(part) for part in (b">ch", b"r1\nAC", b"GT\n>chr2\nA")]
PACKED_END = gzip.compress(b"GT\n>chr2\nA\n")
GOOD = {
    "blank lines and spaces": b"\n \n>chr1\n\nAC GT\n \nNN\n\n",
    "no last newline": b">chr1\nACGT\n>chr2\nA",
    "IUPAC codes of both cases": b">chr1\nRYSWKMBDHVNryswkmbdhvnACGT\n",
    "CRLF": b">chr1\r\nACGT\r\nacgt\r\n>chr2\r\nA\r\n",
    "CR, as on an old Mac": b">chr1\rACGT\racgt\r>chr2\rA\r",
    "a byte order mark": b"\xef\xbb\xbf>chr1\nACGT\n>chr2\nA\n",
    "bzip2": bz2.compress(b">chr1\nACGT\n>chr2\nA\n"),
    "two streams of bzip2": bz2.compress(b">chr1\nAC") + bz2.compress(b"GT\n>chr2\nA\n"),
    "xz": lzma.compress(b">chr1\nACGT\n>chr2\nA\n"),
    "bytes behind a gzip": gzip.compress(b">chr1\nACGT\n>chr2\nA\n") + b"index of a kind",
    "bgzip": bgzf(b">chr1\nACGT\n>chr2\nA\n"),
    "gzip filled up with zeros": gzip.compress(b">chr1\nACGT\n") + bytes(512),
    "gzip after many zeros": gzip.compress(b">chr1\nAC") + bytes(300_000) + PACKED_END,
    "gzip cut within a line": b"".join(PACKED_PARTS),
}


@pytest.fixture(params=("zlib", "isal.isal_zlib"), ids=("python", "isal"))
def inflate(request, monkeypatch):
    """Python's own zlib, and the faster one that is taken where it is installed."""
    monkeypatch.setattr(files, "zlib", pytest.importorskip(request.param))


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
def test_odd_but_good_fasta(tmp_path, inflate, content):
    text = UNPACK.get(content[:2], bytes)(content.removesuffix(b"index of a kind"))
    prepare(fasta=write(tmp_path / "x", content), out=tmp_path / "out", val_chroms="")
    agrees(tmp_path / "out", text.decode("utf-8-sig").replace(" ", "").replace("\r", "\n"))


WHOLE = gzip.compress(b">chr1\n" + b"ACGTTGCA" * 1000 + b"\n>chr2\nACGT\n", mtime=0)
BAD = {
    "truncated gzip": (WHOLE[:-9], "truncated gzip"),
    "truncated trailer": (WHOLE[:-1], "truncated gzip"),
    "only a gzip header": (WHOLE[:5], "truncated gzip"),
    "damaged gzip": (WHOLE[:-6] + bytes([WHOLE[-6] ^ 1]) + WHOLE[-5:], "damaged gzip"),
    "truncated bgzip": (bgzf(b">chr1\nACGT\n", whole=False), "truncated bgzip"),
    "gzip, then truncated bgzip": (WHOLE + bgzf(b">x\nA", whole=False), "truncated bgzip"),
    "truncated bzip2": (bz2.compress(b">chr1\nACGT\n")[:-4], "truncated"),
    "damaged bzip2": (bz2.compress(b">chr1\nACGT\n")[:20] + bytes(40), "damaged bzip2"),
    "truncated xz": (lzma.compress(b">chr1\nACGT\n")[:-9], "truncated"),
    "damaged xz": (lzma.compress(b">chr1\nACGT\n")[:30] + bytes(40), "damaged xz"),
    "zstd": (b"\x28\xb5\x2f\xfd\0\0\0", "zstd -d"),
    "zip": (b"PK\x03\x04" + bytes(30), "unzip"),
    "2bit": (b"\x43\x27\x41\x1a" + bytes(30), "twoBitToFa"),
    "2bit of the other byte order": (b"\x1a\x41\x27\x43" + bytes(30), "twoBitToFa"),
    "tar": (b"genome.fa" + bytes(248) + b"ustar" + bytes(250), "tar xf"),
    "tar.gz": (gzip.compress(b"genome.fa" + bytes(248) + b"ustar\0" + bytes(250)), "tar xf"),
    "gzip twice": (gzip.compress(gzip.compress(b">chr1\nA\n")), "gunzip -c"),
    "BAM": (bgzf(b"BAM\x01" + bytes(30)), "aligned reads"),
    "UTF-16": (">chr1\nACGT\n".encode("utf-16"), "iconv"),
    "GenBank": (b"LOCUS       NC_000913  4641652 bp\n", "GenBank flat file"),
    "SAM": (b"@HD\tVN:1.6\n@SQ\tSN:chr1\n", "aligned reads"),
    "VCF": (b"##fileformat=VCFv4.2\n", "variants"),
    "letters without a name": (b"\nACGTACGT\nACG\n", "put a line before"),
    "X": (b">chr1\nACGXX\n", "write N: cat"),
    "gzipped, with X": (gzip.compress(b">chr1\nACGXX\n"), "chr1 has 'X' at base 3"),
    "gaps of an alignment": (b">chr1\nAC--GT\n", "remove the gaps"),
    "BED": (b"chr1\t100\t300\n", "not a FASTA but a BED"),
    "numbers": (b">chr1\n   1 acgt\n", "remove the numbers"),
    "web page": (b"<!DOCTYPE html>\n<html>\n<body>\n>ACGT\n</html>\n", "a web page?"),
    "gzipped web page": (gzip.compress(b"\n<html></html>"), "a web page?"),
    "empty": (b"", "empty"),
    "empty gzip": (gzip.compress(b""), "empty"),
    "blank": (b"\n\n", "empty"),
    "protein": (b">chr1\nACGT\nMKVLE\n", "chr1 has 'L' at base 7: not DNA"),
    "RNA": (b">chr1\nACGTUU\n", "chr1 is not DNA but RNA: U at base 4: write T for U"),
    "duplicate name": (b">chr1 a\nACGT\n>chr2\nA\n>chr1 b\nACGT\n", "two records named chr1"),
    "duplicates side by side": (b">chr1\nACGT\n>chr1\nACGT\n", "two records named chr1"),
    "no name": (b">\nACGT\n", "a record without a name"),
    "text before": (b"ACGT\n>chr1\nACGT\n", "does not start with '>'"),
    "FASTQ": (b"@chr1\nACGT\n+\nIIII\n", "FASTQ, reads and not a genome"),
    "records without sequence": (b">chr2\n>chr1\n\n", "no sequence"),
    "> inside a line": (b">chr1\nAC>GT\n", "chr1 has '>' at base 2"),
    "no end of a header": (b">" + b"A" * 2_000_000, "not a FASTA"),
}


@pytest.mark.parametrize("content, words", BAD.values(), ids=BAD)
def test_bad_fasta(tmp_path, inflate, content, words):
    refused(words, fasta=write(tmp_path / "x.fa", content), out=tmp_path / "a" / "out")
    assert not (tmp_path / "a" / "out").exists()


def test_a_record_without_sequence_is_skipped_and_said(tmp_path, capsys):
    given = write(tmp_path / "x.fa", ">chr1\n>chr2\nACGT\n>chr3\nAAC\n>chr21\nGGT\n>chr4")
    prepare(fasta=given, out=tmp_path / "out")
    assert splits_of(tmp_path / "out") == [["chr2", "chr3"], ["chr21"], []]
    assert "without sequence: 2 records (chr1, chr4)" in capsys.readouterr().out


def test_the_commands_that_mend_a_fasta_do(tmp_path):
    for letters, mended in (("ACGUu", "ACGTt"), ("ACXxN", "ACNnN"), ("A-C.G", "ACG")):
        given = write(tmp_path / "x.fa", f">chr1_Ux-\n{letters}\n>chr21\nA\n")
        with pytest.raises(SystemExit) as error:
            prepare(fasta=given, out=tmp_path / "out")
        command = str(error.value).rpartition(": ")[2]
        subprocess.run(command, shell=True, check=True, cwd=tmp_path)
        assert (tmp_path / "mended.fa").read_text() == f">chr1_Ux-\n{mended}\n>chr21\nA\n"


def test_fasta_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused("is a pipe", fasta=tmp_path / "pipe", out=tmp_path / "out")
    refused("is a folder", fasta=tmp_path, out=tmp_path / "out")
    refused("is not there", fasta=tmp_path / "x.fa", out=tmp_path / "out")
    for name in ("cow.fa", "pig.fa"):
        write(tmp_path / name, ">chr1\nACGT\n")
    two = f"{tmp_path / 'cow.fa'},{tmp_path / 'pig.fa'}"
    refused("prepare each genome by itself", "--dataset=ONE,OTHER", fasta=two, out=tmp_path / "out")


# which chromosomes, and where they go


def fasta_of(path, *names):
    """A FASTA of records with these names, each of its own length."""
    records = [f">{name}\nACGT{'N' * i}\n" for i, name in enumerate(names)]
    return write(path / "x.fa", "".join(records))


def splits_of(folder):
    """The chromosomes of a prepared genome: [train, val, test], a list of names each."""
    splits = Genome(folder).meta["splits"]
    return [[row["name"] for row in splits[key]["chroms"]] for key in ("train", "val", "test")]


@pytest.mark.parametrize(
    "names, settings, expected",
    (
        # Ensembl's names
        ("1 2 6 22 MT GL000009.2", {}, [["chr1", "chr2"], ["chr6"], ["chr22"]]),
        # RefSeq's and GenBank's, whatever the assembly
        (
            "NC_000001.11 NC_000006.10 NC_000023.11 NC_012920.1",
            {},
            [["chr1", "chrX"], ["chr6"], []],
        ),
        ("CM000663.2 CM000683.1 CM000672.2 KI270302.1", {}, [["chr1"], ["chr21"], ["chr10"]]),
        ("CP068277.2 CP068257.2 CP068256.2", {}, [["chr1"], ["chr21"], ["chr22"]]),
        ("NC_060925.1 NC_060930.1", {}, [["chr1"], ["chr6"], []]),
        (
            "chr1 chr6 chr5 chrX chrM chrUn_1 chr1_KI270762v1_alt chrEBV chr6_apd_hap1",
            {},
            [["chr1", "chrX"], ["chr6"], ["chr5"]],
        ),
        # what looks like a chromosome is taken, and a copy of a held-out one is held out
        (
            "chr1_RagTag chr6_RagTag chromosome_10 HG002#1#chr21 ptg000001l",
            {},
            [["chr1_RagTag"], ["chr6_RagTag", "HG002#1#chr21"], ["chromosome_10"]],
        ),
        ("chr1 chr2 chrM", {"chroms": "1, MT", "val_chroms": "M"}, [["chr1"], ["chrM"], []]),
        # named goes before the default's test
        ("chr1 chr6 chr10", {"val_chroms": "chr10"}, [["chr1", "chr6"], ["chr10"], []]),
        ("1 6 NC_000010.11", {"val_chroms": "10"}, [["chr1", "chr6"], ["chr10"], []]),
        (
            "chr1 chr6 chr5",
            {"val_chroms": "", "test_chroms": "chr1"},
            [["chr6", "chr5"], [], ["chr1"]],
        ),
        # asked for by name
        ("chr1 chrM", {"val_chroms": "", "test_chroms": "chrM"}, [["chr1"], [], ["chrM"]]),
        # scaffolds alone are the genome, an organelle alone too
        (
            "scaffold_1 scaffold_2",
            {"val_chroms": "scaffold_2"},
            [["scaffold_1"], ["scaffold_2"], []],
        ),
        ("MT", {"val_chroms": "tail"}, [["chrM"], ["chrM"], []]),
    ),
)
def test_splits(tmp_path, names, settings, expected):
    settings = {"test_chroms": "auto", **settings}
    if "scaffold" in names or names == "MT":
        settings["test_chroms"] = ""
    prepare(fasta=fasta_of(tmp_path, *names.split()), out=tmp_path / "out", **settings)
    assert splits_of(tmp_path / "out") == expected


@pytest.mark.parametrize(
    "names, left_out",
    (
        (
            "2L 2R 3L 3R 4 X Y mitochondrion_genome 211000022278279",
            "mitochondrion_genome 211000022278279",
        ),
        ("I II III IV V X MtDNA", "MtDNA"),
        ("Chr1 Chr2 Chr3 Chr4 Chr5 ChrC ChrM ChrUn", "ChrC ChrM ChrUn"),
        ("1A 1B 1D Un Mt Pt B73V4_ctg12", "Mt Pt B73V4_ctg12"),
        ("SUPER_1 SUPER_2 SUPER_Z SUPER_1_unloc_1 scaffold_9", "SUPER_1_unloc_1 scaffold_9"),
        ("chr1_hap1 chr1_hap2 chr2_hap1 chr2_hap2 h1tg000001l", ""),
        ("chr1 chr6_cox_hap2 chr1_gl000191_random chr2_KI270894v1_alt chrY_KZ208923v1_fix", None),
        ("1 2 3 CHR_MG117_PATCH CHR_CAST_EI_MMCHR11_CTG4 JH584304.1 GL456210.1", None),
        ("HiC_scaffold_1 HiC_scaffold_2 HiC_scaffold_3 HiC_scaffold_40", ""),
        ("NODE_1_length_9_cov_3 NODE_2_length_7_cov_2 pXO1 contig00012", ""),
        ("JAAGMU010000001.1 JAAGMU010000002.1 NW_003315950.2 NT_166280.1", ""),
        ("NZ_CP012345.1 NZ_CP012346.1 NC_000913.3", ""),
        ("LG1 LG2 LGX unplaced_12 Unlocalized-3 000123F", "unplaced_12 Unlocalized-3"),
    ),
)
def test_what_is_no_chromosome_is_left_out_by_name(tmp_path, names, left_out):
    names = names.split()
    if left_out is None:
        left_out = " ".join(name for name in names if len(name) > 4)
    text = "".join(f">{name}\n{'ACGT' * (2 if '_' in name else 40)}\n" for name in names)
    given = write(tmp_path / "x.fa", text)
    prepare(fasta=given, out=tmp_path / "out", val_chroms="tail", test_chroms="")
    taken = {row.get("fasta_name", name) for name, row in Genome(tmp_path / "out").chroms.items()}
    assert set(names) - taken == set(left_out.split())


HUMAN_COPIES = {
    "hs38DH": (
        ">chr1 AC:CM000663.2",
        ">chr6 AC:CM000668.2",
        ">HLA-A*01:01:01:01\tHLA00001 3503 bp",
        ">chr6_GL000250v2_alt",
        ">chrUn_KN707606v1_decoy",
        ">chrEBV  AC:AJ507799.2",
    ),
    "Ensembl": (
        ">1 dna_sm:chromosome chromosome:GRCh38:1:1:40000:1 REF",
        ">6 dna_sm:chromosome chromosome:GRCh38:6:1:12000:1 REF",
        ">CHR_HSCHR6_MHC_COX_CTG1 dna_sm:chromosome chromosome:GRCh38:CHR_HSCHR6:1:9:1 HAP",
        ">HG1342_HG2282_PATCH dna_sm:chromosome",
    ),
    "NCBI": (
        ">NC_000001.11 Homo sapiens chromosome 1, GRCh38.p14 Primary Assembly",
        ">NC_000006.12 Homo sapiens chromosome 6, GRCh38.p14 Primary Assembly",
        ">NT_167244.2 Homo sapiens chromosome 6 genomic scaffold, alternate locus group 1",
        ">NW_003315950.2 Homo sapiens chromosome 6 genomic patch of type NOVEL, GRCh38.p14",
        ">NT_187361.1 Homo sapiens chromosome 1 unlocalized genomic scaffold",
        ">NC_007605.1 Human gammaherpesvirus 4, complete genome",
    ),
    "hs37d5": (">1", ">6", ">GL000191.1", ">hs37d5", ">NC_007605"),
    "GenBank, known by the description alone": (
        ">OX123456.1 Homo sapiens isolate X genome assembly, chromosome: 1",
        ">OX123461.1 Homo sapiens isolate X genome assembly, chromosome: 6",
        ">CAXXXX010000001.1 Homo sapiens isolate X genome assembly, contig: ctg1",
    ),
}


@pytest.mark.parametrize("headers", HUMAN_COPIES.values(), ids=HUMAN_COPIES)
def test_copies_of_chromosomes_are_left_out_and_counted(tmp_path, capsys, headers):
    letters = ["ACGT" * 30 + "A" * i for i in range(len(headers))]
    text = "".join(f"{header}\n{dna}\n" for header, dna in zip(headers, letters))
    prepare(fasta=write(tmp_path / "x.fa", text), out=tmp_path / "out")
    assert splits_of(tmp_path / "out") == [["chr1"], ["chr6"], []]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    counts = [int(re.search(r"(\d+) records? of", line)[1]) for line in said]
    bases = [int(re.search(r"of ([\d,]+) bases", line)[1].replace(",", "")) for line in said]
    assert sum(counts) == len(headers) - 2
    assert sum(bases) == sum(map(len, letters[2:]))


def test_a_chromosome_is_known_by_all_its_names(tmp_path):
    text = ">NC_000001.11 Homo sapiens\nACGTACGTAA\n>NC_000021.9 Homo\nGATTACA\n"
    prepare(fasta=write(tmp_path / "x.fa", text), out=tmp_path / "out", test_chroms="")
    genome = Genome(tmp_path / "out")
    for name in ("chr21", "21", "NC_000021.9", "NC_000021", "CM000683.2", "Chr21"):
        assert decode(genome.fetch(name, 0, 7)) == "GATTACA"
    assert genome.find("chr22") is None
    assert genome.chroms["chr21"]["fasta_name"] == "NC_000021.9"


def test_x_of_a_yeast_is_a_ten(tmp_path):
    prepare(fasta=fasta_of(tmp_path, "I", "II", "IX", "X", "XI", "Mito"), out=tmp_path / "out")
    assert set(Genome(tmp_path / "out").chroms) == {"I", "II", "IX", "X", "XI"}


def test_scaffolds_stay_out_though_the_settings_name_the_chromosomes(tmp_path):
    text = "".join(f">{name}\n{'ACGT' * 50}\n" for name in ("1", "2", "21", "22"))
    given = write(tmp_path / "x.fa", text + ">GL000009.2\nACGTA\n>KI270302.1\nAC\n")
    prepare(fasta=given, out=tmp_path / "out", val_chroms="1,21", test_chroms="22")
    assert splits_of(tmp_path / "out") == [["chr2"], ["chr1", "chr21"], ["chr22"]]


def test_dart_evals_test_chromosomes_are_not_trained_on_unsaid(tmp_path, capsys):
    given = fasta_of(tmp_path, "1", "5", "6")
    prepare(fasta=given, out=tmp_path / "a")
    assert "warning: chr" not in capsys.readouterr().out
    prepare(fasta=given, out=tmp_path / "b", test_chroms="")
    assert "warning: chr5 will be trained on, and DART-Eval tests on it" in capsys.readouterr().out


def scaffolds(path, n):
    """n scaffolds of 60 to 900 bases."""
    rng = np.random.default_rng(2)
    lengths = rng.integers(60, 900, n)
    letters = ["".join(rng.choice(list("ACGT"), length)) for length in lengths]
    text = "".join(f">scaffold_{i:04}\n{dna}\n" for i, dna in enumerate(letters))
    return write(path, text), lengths.sum()


def test_of_scaffolds_a_twentieth_each_is_held_out_by_name(tmp_path, capsys):
    given, total = scaffolds(tmp_path / "x.fa", 400)
    prepare(fasta=given, out=tmp_path / "out")
    assert "chosen by a hash of their names" in capsys.readouterr().out
    agrees(tmp_path / "out", given.read_text())
    genome = Genome(tmp_path / "out")
    for split in ("val", "test"):
        assert 0.04 < len(genome.bases(split)) / total < 0.06
    # the same names go the same way in any order of the file
    records = given.read_text().split(">")[1:]
    shuffled = write(tmp_path / "y.fa", "".join(f">{text}" for text in reversed(records)))
    prepare(fasta=shuffled, out=tmp_path / "other")
    for mine, theirs in zip(splits_of(tmp_path / "out"), splits_of(tmp_path / "other")):
        assert sorted(mine) == sorted(theirs)


def test_of_one_record_the_last_tenth_is_held_out_in_its_own_coordinates(tmp_path):
    rng = np.random.default_rng(3)
    letters = "".join(rng.choice(list("ACGTacgt"), 2900))
    letters = letters[:1000] + "N" * 100 + letters[1000:2640] + "N" * 60 + letters[2640:]
    prepare(fasta=write(tmp_path / "x.fa", f">phage\n{letters}\n"), out=tmp_path / "out")
    genome = Genome(tmp_path / "out")
    n = len(letters)
    cut = n - n // 10
    assert splits_of(tmp_path / "out") == [["phage"], ["phage"], []]
    assert decode(genome.bases("train")) == letters[:cut]
    assert decode(genome.bases("val")) == letters[cut:]
    assert decode(genome.fetch("phage", cut - 70, cut + 70)) == letters[cut - 70 : cut + 70]
    assert decode(genome.fetch("phage", n - 3, n + 2)) == letters[-3:] + "NN"
    assert genome.chroms["phage"]["length"] == n
    assert genome.split_at("phage", 0, cut) == "train"
    assert genome.split_at("phage", cut, n) == "val"
    assert genome.split_at("phage", cut - 1, n) is None
    # the second gap, 2740 to 2800, is cut in two
    assert cut == 2754 and genome.stretches("train").tolist() == [[0, 1000], [1100, 2740]]
    assert genome.stretches("val").tolist() == [[2800 - cut, n - cut]]
    counts = genome.meta["splits"]["val"]
    assert counts["N"] == letters[cut:].count("N")
    assert counts["repeats"] == sum(c in "acgt" for c in letters[cut:])
    assert counts["gc"] == sum(c in "GCgc" for c in letters[cut:])


@pytest.mark.parametrize(
    "settings, words",
    (
        ({"val_chroms": "chr9"}, ["chr9: not among"]),
        ({"test_chroms": "chr21,chr9"}, ["chr9: not among"]),
        ({"chroms": "chr21,chr7"}, ["chr7: not among"]),
        ({"chroms": "chr1", "val_chroms": "chr21"}, ["chr21: not among"]),
        ({"val_chroms": "chr1,chr21", "test_chroms": "21"}, ["chr21 is in both"]),
        ({"chroms": "chr21,chr22"}, ["nothing to train on", "--val_chroms=chr22 --test_chroms="]),
        ({"chroms": "chr21"}, ["nothing to train on", "--val_chroms=tail --test_chroms="]),
    ),
)
def test_splits_that_cannot_be(tmp_path, settings, words):
    given = fasta_of(tmp_path, "chr1", "chr21", "chr22")
    refused(*words, fasta=given, out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_what_an_empty_training_split_says_to_type_works(tmp_path):
    fasta = fasta_of(tmp_path, "chr21", "chr22")
    refused("type --val_chroms=chr22 --test_chroms=", fasta=fasta, out=tmp_path / "out")
    prepare(fasta=fasta, out=tmp_path / "out", val_chroms="chr22", test_chroms="")
    assert splits_of(tmp_path / "out") == [["chr21"], ["chr22"], []]
    fasta = write(tmp_path / "y.fa", ">chr22\n" + "ACGTTGCA" * 50)
    refused("type --val_chroms=tail --test_chroms=", fasta=fasta, out=tmp_path / "b")
    prepare(fasta=fasta, out=tmp_path / "b", val_chroms="tail", test_chroms="")
    assert splits_of(tmp_path / "b") == [["chr22"], ["chr22"], []]


# the folder


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_again_and_another_genome(tmp_path):
    out = tmp_path / "out"
    mine = fasta_of(tmp_path, "chr1", "chr6", "chr2")
    prepare(fasta=mine, out=out)
    before = snapshot(out)
    prepare(fasta=mine, out=out)
    assert snapshot(out) == before
    (tmp_path / "other").mkdir()
    changed = write(tmp_path / "b.fa", mine.read_text().replace("GT", "GA"))
    for other in (fasta_of(tmp_path / "other", "chr1", "chr6"), changed):
        refused("already holds", "--out", fasta=other, out=out)
    twice = tmp_path / "twice"
    for _ in range(2):  # a name that comes twice, and in two ways
        prepare(fasta=mine, out=twice, chroms="chr1,chr1,6,chr6")
    assert sorted(Genome(twice).chroms) == ["chr1", "chr6"]
    refused("already holds", fasta=mine, out=out, val_chroms="chr2")
    refused(
        "has none of --chroms=chr9", "chr1, chr6, chr2", fasta=mine, out=twice / "no", chroms="chr9"
    )
    refused("already holds", fasta=mine, out=out, chroms="chr1,chr6")
    refused("already holds", out=out, url="http://127.0.0.1:9")  # hg38 itself: before any network
    lines = mine.read_text().splitlines()
    masked = "\n".join(line if line.startswith(">") else line.lower() for line in lines)
    masked = write(tmp_path / "masked.fa", masked)
    refused("soft-masked in another way", "--out", fasta=masked, out=out)
    assert snapshot(out) == before
    packed = write(tmp_path / "c.fa.gz", gzip.compress(mine.read_bytes()))
    prepare(fasta=packed, out=out)  # the same, packed in another way
    (out / "val.bin").write_bytes(b"")  # no longer whole: made again
    prepare(fasta=mine, out=out)
    assert snapshot(out) == before


def test_records_of_one_length_are_held_out_alike_again(tmp_path):
    rng = np.random.default_rng(5)
    text = "".join(f">part{i}\n{random_dna(rng, 20_000)}\n" for i in range(5))
    mine = write(tmp_path / "a.fa", text)
    for _ in range(2):
        prepare(fasta=mine, out=tmp_path / "out")
    turned = "".join(f">{record}" for record in reversed(text.split(">")[1:]))
    prepare(fasta=write(tmp_path / "b.fa", turned), out=tmp_path / "turned")
    assert Genome(tmp_path / "out").fingerprint == Genome(tmp_path / "turned").fingerprint


def test_full_disk(tmp_path, monkeypatch):
    fasta = fasta_of(tmp_path, "chr1", "chr2")

    class Full:
        def __init__(self, *args):
            self.file = open(*args)

        def tell(self):
            return self.file.tell()

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_on_full_disk(path, mode):
        return Full(path, mode) if mode == "wb" else open(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_hg38, "open", open_on_full_disk, raising=False)
        refused("No space left on device", "--out", fasta=fasta, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
        refused("too little disk", fasta=fasta, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("when", ("encode_record", "md5_of", "Genome"))
def test_nothing_half_written_is_left_by_ctrl_c(tmp_path, monkeypatch, server, when):
    ucsc(server, "toy", {"chr1": "ACGT" * 30, "chr6": "ACGT"})
    module = fetching if when == "md5_of" else prepare_hg38
    monkeypatch.setattr(module, when, mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(out=tmp_path / "out", assembly="toy", url=server.url)
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("meta.json"))


# from UCSC


def ucsc(server, assembly, letters):
    """Serve a genome as UCSC does: whole, by chromosome, and the checksums."""
    each = {name: {name: text} for name, text in letters.items()}
    for folder, served in (("bigZips", {assembly: letters}), ("chromosomes", each)):
        listing = ""
        for stem, records in served.items():
            text = "".join(f">{name}\n{bases}\n" for name, bases in records.items())
            packed = gzip.compress(text.encode(), mtime=0)
            server.files[f"/{assembly}/{folder}/{stem}.fa.gz"] = packed
            listing += f"{md5(packed)}  {stem}.fa.gz\n"
        server.files[f"/{assembly}/{folder}/md5sum.txt"] = listing.encode()
    return server.files[f"/{assembly}/bigZips/{assembly}.fa.gz"]


LETTERS = {"chr1": "ACGTTGCA" * 500, "chr6": "acgt" * 100, "chr22": "GGGG", "chr1_alt": "ACGT"}


def test_whole_assembly(tmp_path, server, capsys):
    packed = ucsc(server, "mm99", LETTERS)
    server.faults["/mm99/bigZips/mm99.fa.gz"] = ["drop", 503]
    prepare(out=tmp_path, assembly="mm99", url=server.url)
    assert splits_of(tmp_path) == [["chr1"], ["chr6"], ["chr22"]]
    url = f"{server.url}/mm99/bigZips/mm99.fa.gz"
    assert Genome(tmp_path).meta["source"] == [{"url": url, "md5": md5(packed)}]
    assert (tmp_path / "mm99.fa.gz").read_bytes() == packed
    said = capsys.readouterr().out
    assert "of disk" in said and "prepared in" in said
    table = [line.split() for line in said.splitlines()]
    assert "train 1 4,000 0 0.0% 50.0% 0".split() in table
    assert "val 1 400 0 100.0% 50.0% 0".split() in table


def test_chosen_chromosomes_only(tmp_path, server):
    ucsc(server, "hg38", LETTERS)
    prepare(out=tmp_path, chroms="chr1,22", val_chroms="", url=server.url, keep_fasta=False)
    assert splits_of(tmp_path) == [["chr1"], [], ["chr22"]]
    fetched = [path.rpartition("/")[2] for path, _ in server.requests]
    assert fetched == ["md5sum.txt", "chr1.fa.gz", "chr22.fa.gz"]
    assert names_of_files(tmp_path) == PREPARED
    refused("no md5 for chr9.fa.gz", out=tmp_path / "b", chroms="chr1,chr9", url=server.url)
    assert not (tmp_path / "b").exists()


def test_hg38_has_the_md5_that_we_know(tmp_path, server, monkeypatch):
    packed = ucsc(server, "hg38", LETTERS)
    words = f"{md5(packed)} for hg38.fa.gz, not 1c9dcaddfa41027f17cd8f7a82c7293b"
    refused(words, out=tmp_path / "out", url=server.url)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(prepare_hg38, "PINNED", {"hg38.fa.gz": md5(packed)})
    monkeypatch.setattr(prepare_hg38, "HG38", {"chr1": 4000, "chr6": 400, "chr22": 4})
    server.faults["/hg38/bigZips/hg38.fa.gz"] = ["wrong byte"]
    refused("removed", out=tmp_path / "out", url=server.url)
    assert not (tmp_path / "out").exists()
    prepare(out=tmp_path / "out", url=server.url)
    server.requests.clear()
    prepare(out=tmp_path / "out", url=server.url)  # the file is there and right: no network
    assert server.requests == [] and splits_of(tmp_path / "out") == [["chr1"], ["chr6"], ["chr22"]]
    # before it is fetched
    refused("chr99: not among", out=tmp_path / "b", url=server.url, val_chroms="chr99")
    assert server.requests == []


def test_unknown_assembly_and_no_network(tmp_path, server):
    missing = "404 Not Found: check --assembly"
    refused(missing, out=tmp_path / "out", assembly="hg99", url=server.url)
    server.server_close()
    refused("check the network", out=tmp_path / "out", url=server.url)
    assert not (tmp_path / "out").exists()


# as typed


def test_command_line(tmp_path, script):
    given = fasta_of(tmp_path, "chr1", "chr21", "chr22")
    out = tmp_path / "out"
    failed = script("prepare_hg38.py", "--fasta", given, "--out", out, "--val_chroms", "chr3")
    one_line_error(failed, "chr3")
    done = script("prepare_hg38.py", f"--fasta={given}", "--out", out, "--test-chroms=")
    assert done.returncode == 0 and done.stderr == ""
    assert splits_of(out) == [["chr1", "chr22"], ["chr21"], []]


def test_memory_stays_small(tmp_path):
    """80 MB of N's that come from a gzip's few KB: what is unpacked must come in blocks."""
    text = b">chr1\nACGT\n" + (b"N" * 80 + b"\n") * 1_000_000
    given = write(tmp_path / "x.fa.gz", gzip.compress(text))
    out = tmp_path / "out"
    words = [sys.executable, "prepare_hg38.py", f"--fasta={given}", f"--out={out}", "--val_chroms="]
    # a process between, whose only child's memory is what we want
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    unit = 1024 if sys.platform == "linux" else 1
    assert int(done.stdout) * unit < 120e6
    assert Genome(out).chroms["chr1"]["gaps"] == [[4, 80_000_004]]
