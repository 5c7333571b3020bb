"""Reading a file of text as people have it: plain, gzip, bgzip, bzip2 or xz, told by its content
and not by its name, with the line ends of any system. What it cannot read it names.
"""

import bz2
import codecs
import lzma

try:  # the same as Python's own and three times as fast: pip install isal
    from isal import isal_zlib as zlib
except ImportError:
    import zlib

from config import die

BLOCK = 2**18  # bytes of text at a time: small enough for a CPU's cache
READ = 2**16  # bytes of a packed file at a time
GZIP = b"\x1f\x8b"  # how a gzip file begins
BZIP2 = b"BZh"
XZ = b"\xfd7zXZ\x00"
GZIP_WINDOW = 31  # zlib's name for gzip

# How a file begins that is no text -> what it is, and what to do with FILE.
OTHERS = {
    b"\x28\xb5\x2f\xfd": ("zstd", "unpack it first: zstd -d FILE"),
    b"PK\x03\x04": ("a zip archive", "unpack it first: unzip FILE"),
    b"PK\x05\x06": ("an empty zip archive", "fetch it again"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it first: 7z x FILE"),
    b"Rar!": ("a rar archive", "unpack it first: unrar x FILE"),
    b"\x1f\x9d": ("packed by compress (.Z)", "unpack it first: gunzip FILE"),
    b"\x04\x22\x4d\x18": ("lz4", "unpack it first: lz4 -d FILE"),
    b"LZIP": ("lzip", "unpack it first: lzip -d FILE"),
    b"\x5d\x00\x00": ("lzma of the old kind", "unpack it first: unlzma FILE"),
    b"\x43\x27\x41\x1a": ("UCSC's 2bit", "unpack it first: twoBitToFa FILE genome.fa"),
    b"\x1a\x41\x27\x43": ("UCSC's 2bit", "unpack it first: twoBitToFa FILE genome.fa"),
    b"BAM\x01": ("BAM, aligned reads", "give the FASTA of a genome"),
    b"CRAM": ("CRAM, aligned reads", "give the FASTA of a genome"),
    b"BCF\x02": ("BCF, variants", "give the FASTA of a genome"),
    b"\x89HDF": ("HDF5", "give a file of text"),
    b"%PDF": ("PDF", "give a file of text"),
    b"SQLite": ("an SQLite database", "give a file of text"),
    codecs.BOM_UTF32_LE: ("UTF-32 text", "make it UTF-8: iconv -f UTF-32 -t UTF-8 FILE"),
    codecs.BOM_UTF16_LE: ("UTF-16 text", "make it UTF-8: iconv -f UTF-16 -t UTF-8 FILE"),
    codecs.BOM_UTF16_BE: ("UTF-16 text", "make it UTF-8: iconv -f UTF-16 -t UTF-8 FILE"),
    GZIP: ("gzip inside of another packing", "unpack it once: gunzip -c FILE > once.gz"),
    BZIP2 + b"9": ("bzip2 inside of another packing", "unpack it first"),
    XZ: ("xz inside of another packing", "unpack it first"),
}
TAR = b"ustar"  # at byte 257


def check_regular(path, setting):
    """Die unless path is a regular file; setting: what the user named it by."""
    if path.is_dir():
        die(f"{setting}={path} is a folder: name a file")
    if path.exists() and not path.is_file():
        die(f"{setting}={path} is a pipe or a device: save what it gives as a file")
    if not path.is_file():
        die(f"{setting}={path} is not there: name a file")


def read_blocks(path, bar=None):
    """Yield a file's text, unpacked, at most 2 BLOCK bytes at a time, every line end as "\\n".

    bar: is told how many bytes of the file are read. Dies if the packing is damaged, and if it is a
    packing, or another kind of file, that is not read here.
    """
    with open(path, "rb") as file:
        first = True
        kept = b""  # a "\r" at a block's end: a "\n" may follow
        for block in unpack(file, path):
            if bar is not None:
                bar.update(file.tell() - bar.n)
            if first:
                refuse_others(block, path)
                block = block.removeprefix(codecs.BOM_UTF8)
                first = False
            if kept or b"\r" in block:
                block = kept + block
                kept = b"\r" if block.endswith(b"\r") else b""
                block = block.removesuffix(kept)
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            yield block
        if kept:
            yield b"\n"


def read_lines(path):
    """Yield the lines of a file that read_blocks reads, as text without line ends."""
    rest = b""
    for block in read_blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def refuse_others(head, path):
    """Die if a file that begins like this is no text, saying what it is and what to do."""
    for magic, (what, cure) in OTHERS.items():
        if head.startswith(magic):
            die(f"{path} is {what}: {cure.replace('FILE', str(path))}")
    if head[257:262] == TAR:
        die(f"{path} is a tar archive: unpack it first: tar xf {path}")


def unpack(file, path):
    """Yield the content of an open file, unpacked if it is gzip, bzip2 or xz; dies if damaged."""
    head = file.read(6)
    file.seek(0)
    if head.startswith(GZIP):
        yield from gunzip(file, path)
        return
    text = file
    if head.startswith(BZIP2):
        text = bz2.open(file)
    elif head.startswith(XZ):
        text = lzma.open(file)
    try:
        while block := text.read(BLOCK):
            yield block
    except EOFError:
        die(f"{path}: truncated, its end is missing: fetch it again")
    except lzma.LZMAError as error:
        die(f"{path}: damaged xz ({error}): fetch it again")
    except OSError as error:
        if text is file:
            raise
        die(f"{path}: damaged bzip2 ({error}): fetch it again")


def gunzip(file, path):
    """Yield the text of an open gzip file of any number of members; dies if it is damaged.

    Bytes behind the last member are ignored with a note, as gzip does. bgzip's last member is
    empty (SAM's specification, 4.1.2): without it the file was cut off.
    """
    texts = []  # not yet yielded
    size = 0
    packed = b""
    inflate = None  # of the member that is being read
    is_bgzip = False
    empty = True  # the member, so far
    while True:
        packed = packed or file.read(READ)
        if inflate is None:
            packed = skip_zeros(packed, file)
            packed += file.read(18 - len(packed)) if len(packed) < 18 else b""
            if not packed.startswith(GZIP):
                break
            inflate = zlib.decompressobj(GZIP_WINDOW)
            is_bgzip = packed[3:4] == b"\x04" and packed[12:14] == b"BC"
            empty = True
        try:
            text = inflate.decompress(packed, BLOCK)
        except zlib.error as error:
            die(f"{path}: damaged gzip ({error}): fetch it again")
        if not packed and not text and not inflate.eof:
            die(f"{path}: truncated gzip, its end is missing: fetch it again")
        packed = inflate.unconsumed_tail
        empty = empty and not text
        if inflate.eof:
            packed = inflate.unused_data
            inflate = None
        texts.append(text)
        size += len(text)
        if size >= BLOCK:
            yield b"".join(texts)
            texts = []
            size = 0
    if is_bgzip and not empty:
        die(f"{path}: truncated bgzip, its last block is missing: fetch it again")
    yield b"".join(texts)
    if packed:
        left = len(packed) - file.tell() + file.seek(0, 2)
        print(f"{path}: {left:,} bytes behind the end of the gzip are ignored, as gzip does")


def skip_zeros(packed, file):
    """What is left of packed, or comes next in the file, behind zeros: tapes are padded by them."""
    packed = packed.lstrip(b"\0")
    while not packed:
        packed = file.read(READ)
        if not packed:
            break
        packed = packed.lstrip(b"\0")
    return packed
