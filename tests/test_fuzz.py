"""Damaged files of every kind that a script reads: the outcome is a right result or our own
one-line error.

  python -m pytest tests/test_fuzz.py --hypothesis-profile=long

tries 20,000 damaged files of each kind instead of 100.
"""

import gzip

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from config import read_command_line, read_config
from dart.elements import read_elements
from data import Genome
from model import GPT, GPTConfig
from runtime.checkpoint import load_model
from tests.conftest import write_genome
from tests.test_prepare import prepare

DEFAULTS = {
    "max_iters": 10,
    "learning_rate": 0.02,
    "dataset": "hg38",
    "compile": "auto",
    "full": False,
}

TINY = GPTConfig(block_size=8, n_layer=1, n_head=1, n_embd=8, stem_bases=3, stem_width=8)
CHECKPOINT = {
    "model": GPT(TINY).state_dict(),
    "model_args": vars(TINY),
    "config": {"dataset": "hg38"},
    "data": {},
    "step": 1,
    "optimizers": [],
}
BED = (
    "chr1\t100\t300\tEH38D1\tEH38E1\tPLS\n"
    "chr2\t5\t9\n"
    "# a comment\n"
    "chrX\t1000\t1350\ta\tb\tc\td\te\tf\tdELS,CTCF-bound\n"
)
FASTA = ">chr1 a comment\nACGTNNNNacgtn\nACGTTGCA\n>chr21\nGATTACA\n\n>chr2\r\nNNNN\r\n"
CONFIG = (
    '"""a run"""\n'
    "max_iters = 2 * 10**3  # steps\n"
    "learning_rate = -0.5e-1\n"
    'dataset = "toy"\n'
    "compile = True\n"
)
PIECES = [b"", b"\n", b"\t", b">", b"N", b"0", b"-1", b"{", b"1e999", b"null", b"\xff\xfe"]
WORDS = ["--max_iters=5", "--compile", "--full", "--dataset", "toy", "--learning_rate=1e-3", "a.py"]
TEXT = st.text(max_size=12)
WORD = st.one_of(
    st.sampled_from(WORDS), TEXT, TEXT.map("--max_iters={}".format), TEXT.map("--{}=1".format)
)
MODEL_ARGS = [*vars(TINY), "more"]
VALUE = st.one_of(
    st.none(),
    st.integers(-2, 9),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)


def damages(content):
    """Bytes like `content`, with up to four cuts, insertions and exchanges."""
    at = st.integers(0, len(content))
    piece = st.one_of(st.binary(max_size=8), st.sampled_from(PIECES))
    change = st.tuples(at, at, piece)

    def apply(changes):
        out = bytearray(content)
        for a, length, piece in changes:
            a = min(a, len(out))
            out[a : a + length % 40] = piece
        return bytes(out)

    return st.lists(change, max_size=4).map(apply)


def survives(read):
    """read() ends well, or in one line of ours: -> its result, or None."""
    try:
        return read()
    except SystemExit as end:
        assert isinstance(end.code, str), end.code
        assert end.code.startswith("error: "), end.code
        assert "\n" not in end.code, end.code
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def saved(folder):
    torch.save(CHECKPOINT, folder / "whole.pt")
    return (folder / "whole.pt").read_bytes()


@given(damages(CONFIG.encode()))
def test_config_files(folder, content):
    (folder / "run.py").write_bytes(content)
    found = survives(lambda: read_config(folder / "run.py", DEFAULTS))
    assert found is None or set(found) <= set(DEFAULTS)


@given(st.lists(WORD, max_size=4))
def test_command_lines(words):
    found = survives(lambda: read_command_line(words, DEFAULTS))
    assert found is None or set(found[1]) <= set(DEFAULTS)


@given(damages(BED.encode()), st.booleans(), st.booleans())
def test_beds(folder, content, zipped, then_cut):
    path = folder / ("a.bed.gz" if zipped else "a.bed")
    content = gzip.compress(content, 1) if zipped else content
    path.write_bytes(content[:-5] if then_cut else content)
    rows = survives(lambda: read_elements(path))
    assert rows is None or ((rows.end > rows.start) & (rows.end <= rows.start + 350)).all()


@given(data=st.data())
def test_gzipped_beds_damaged_inside(folder, data):
    (folder / "b.bed.gz").write_bytes(data.draw(damages(gzip.compress(BED.encode() * 20, 6))))
    survives(lambda: read_elements(folder / "b.bed.gz"))


@given(data=st.data())
def test_meta_json(folder, data):
    meta = folder / "genome" / "meta.json"
    kept = folder / "genome" / "kept"
    if not (folder / "genome").exists():
        chr1 = "ACGT" * 20 + "N" * 60 + "ACGT"
        write_genome(folder / "genome", {"train": {"chr1": chr1}, "val": {"chr2": "GATTACA"}})
        kept.write_bytes(meta.read_bytes())
    meta.write_bytes(data.draw(damages(kept.read_bytes())))

    def read():
        genome = Genome(folder / "genome")
        return [genome.stretches(split) for split in ("train", "val", "test")]

    stretches = survives(read)
    if stretches is not None:
        assert all((s[:, 0] <= s[:, 1]).all() for s in stretches)


@given(data=st.data())
def test_checkpoints(folder, saved, data):
    """A checkpoint that still loads is the whole one, or says the same."""
    (folder / "a.pt").write_bytes(data.draw(damages(saved)))
    loaded = survives(lambda: load_model(folder / "a.pt"))
    if loaded:
        for name, weights in loaded[0].state_dict().items():
            assert torch.equal(weights, CHECKPOINT["model"][name])


@given(st.dictionaries(st.sampled_from(MODEL_ARGS), VALUE, max_size=3))
def test_checkpoints_of_strange_models(folder, strange):
    model_args = dict(CHECKPOINT["model_args"], **strange)
    torch.save(dict(CHECKPOINT, model_args=model_args), folder / "s.pt")
    survives(lambda: load_model(folder / "s.pt"))


@given(damages(FASTA.encode()), st.booleans())
def test_fastas(folder, content, zipped):
    path = folder / ("a.fa.gz" if zipped else "a.fa")
    out = folder / "prepared"
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    splits = {"val_chroms": "chr21", "test_chroms": "chr2"}
    done = survives(lambda: (prepare(fasta=path, out=out, **splits), 1))
    if done:
        letters = content.replace(b"\r", b"").split(b">chr1 a comment\n")
        assert sum(len(Genome(out).bases(split)) for split in ("train", "val", "test")) > 0
        assert len(letters)
