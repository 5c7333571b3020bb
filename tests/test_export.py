"""export.py: the folder is the same model to transformers, and its card says what the checkpoint
says.
"""

import dataclasses
import json
import math
import os
import sys
import tempfile

import pytest
import torch

CODE = tempfile.TemporaryDirectory()  # where transformers copies a folder's Python files
os.environ["HF_MODULES_CACHE"] = CODE.name  # both are read as transformers is imported
os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")

import data
import sample
from export import FILES, about_data
from model import GPT, GPTConfig, N, base_nll
from runtime.checkpoint import load_model, save_checkpoint
from tests.conftest import one_line_error, run

BLOCK = 48
DNA = "ACGTTGCAAC"


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=BLOCK, n_layer=2, n_head=2, n_embd=32, stem_width=16))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    path = tmp_path_factory.mktemp("ckpt") / "ckpt.pt"
    save_checkpoint(path, checkpoint_of(model))
    return path


def checkpoint_of(model):
    splits = {"train": ["chr1", "chr2"], "val": ["chr21"], "test": ["chr5", "chr22"]}
    md5 = {name: f"md5 of {name}" for names in splits.values() for name in names}
    source = [{"file": "toy.fa.gz", "md5": "0123abcd"}]
    return dict(
        model=model.state_dict(),
        model_args=dataclasses.asdict(model.config),
        config={"dataset": "somewhere/toy"},
        data=dict(dataset="somewhere/toy", fingerprint="f00d", source=source, md5=md5, **splits),
        step=1234,
        bases=56789,
        evaluated=1200,
        val={"all": 1.9, "repeats": 1.81, "unique": 1.95, "elements": math.nan},
    )


@pytest.fixture(scope="module")
def folder(ckpt, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "toy-model"
    done = run("export.py", f"--ckpt={ckpt}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == ["toy-model"]
    return out


@pytest.fixture(scope="module")
def ours(ckpt):
    return load_model(ckpt)[0]


@pytest.fixture(scope="module")
def theirs(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)


def random_tokens(rows, n):
    """(rows, n) tokens, N among them, the start symbol first."""
    bases = torch.randint(0, 5, (rows, n - 1), generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.pad(bases, (1, 0), value=N)


@torch.no_grad()
def test_the_logits_are_ours_and_N_has_none(ours, theirs):
    tokens = random_tokens(2, BLOCK)
    logits = theirs(tokens).logits
    assert logits.shape == (2, BLOCK, 5)
    assert (logits[..., :4] - ours(tokens)).abs().max() < 1e-5
    assert logits[..., N].isneginf().all()


@torch.no_grad()
def test_the_states_are_ours(ours, theirs, folder):
    tokens = random_tokens(2, 20)
    states = theirs(tokens, output_hidden_states=True).hidden_states
    for layer, state in enumerate(states):
        assert torch.equal(state, ours.states(tokens, layer=layer))
    alone = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    assert torch.equal(alone(tokens).last_hidden_state, states[-1])
    assert len(states) == 3


@torch.no_grad()
def test_the_loss_is_the_mean_of_base_nll(ours, theirs):
    tokens = random_tokens(2, BLOCK)
    bases = tokens[:, 1:]
    expected = base_nll(ours, bases).sum() / (bases < N).sum()
    assert abs(theirs(tokens, labels=tokens).loss - expected) < 1e-5
    ignored = tokens.where(tokens < N, -100)
    assert abs(theirs(tokens, labels=ignored).loss - expected) < 1e-5


def test_greedy_generation_is_ours(ours, theirs):
    prompt = random_tokens(2, 10)
    n = BLOCK - 10
    drawn = torch.stack(list(sample.generate(ours, prompt, n, temperature=0)), 1)
    for use_cache in (False, True):  # True is allowed, and changes nothing
        found = theirs.generate(prompt, max_new_tokens=n, do_sample=False, use_cache=use_cache)
        assert torch.equal(found, torch.cat((prompt, drawn), 1))


def test_beyond_the_context_the_start_symbol_and_the_last_bases_are_read(ours, theirs):
    tokens = random_tokens(1, BLOCK + 5)
    read = torch.cat((tokens[:, :1], tokens[:, -(BLOCK - 1) :]), 1)
    new = theirs.generate(tokens, max_new_tokens=1, do_sample=False)[:, -1]
    assert torch.equal(new, ours(read)[:, -1].argmax(-1))
    with pytest.raises(ValueError, match="53 tokens, and this model reads at most 48"):
        theirs(tokens)


def test_sampling_never_draws_N(theirs):
    torch.manual_seed(1)
    prompt = random_tokens(8, 3)
    for more in ({"temperature": 3.0}, {"top_k": 50}, {"top_p": 0.9}, {"num_beams": 2}):
        drawn = theirs.generate(prompt, max_new_tokens=20, do_sample=True, **more)[:, 3:]
        assert drawn.shape == (8, 20)
        assert drawn.max() < N
    assert theirs.generate(max_new_tokens=5, do_sample=True)[0, 0] == N


def test_the_tokenizer(tokenizer):
    assert tokenizer("acgtN")["input_ids"] == [N, 0, 1, 2, 3, 4]
    for text in ("ACGTTGCA", "NNACGNNTN", "acgtn", "ARYKMSWBDHVX", "A-*C", "", "U"):
        tokens = tokenizer(text)["input_ids"]
        assert tokens == [N, *(data.encode(text) & 7).tolist()]
        letters = data.decode(data.encode(text) & 7)
        assert tokenizer.decode(tokens, skip_special_tokens=True) == letters
        assert tokenizer.decode(tokens) == "N" + letters
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(data.ALPHABET)
    assert len(tokenizer) == 5
    assert tokenizer.bos_token_id == N


@torch.no_grad()
def test_padding_is_at_the_right_and_changes_nothing(ours, theirs, tokenizer):
    rows = tokenizer([DNA, DNA[:4]], padding=True, return_tensors="pt")
    short = tokenizer(DNA[:4], return_tensors="pt")["input_ids"]
    assert (theirs(**rows).logits[1, :5, :4] - ours(short)).abs().max() < 1e-5
    with pytest.raises(ValueError, match="rows of equal length"):
        theirs.generate(**rows, max_new_tokens=2)
    rows["attention_mask"] = rows["attention_mask"].flip(1)
    with pytest.raises(ValueError, match="pad at the right"):
        theirs(**rows)


def test_what_transformers_saves_again_is_the_same_model(theirs, tokenizer, tmp_path):
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)(
        DNA, return_tensors="pt"
    )
    with torch.no_grad():
        assert torch.equal(again(**tokens).logits, theirs(**tokens).logits)


def test_half_precision_is_refused(folder):
    half = transformers.AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, dtype=torch.bfloat16
    )
    with pytest.raises(ValueError, match="use torch.autocast"):
        half(random_tokens(1, 5))


def test_the_card(folder):
    card = (folder / "README.md").read_text()
    for words in (
        "- toy (fingerprint of the prepared genome: f00d)",
        "from toy.fa.gz, md5 0123abcd",
        "trained on chr1, chr2\n",
        "never saw chr5, chr22\n",
        "checkpoints, on chr21\n",
        "1,234 steps",
        "56,789 bases",
        "after step 1,200",
        "| toy | 1.9000 | 1.8100 | 1.9500 | - |",
        'AutoModelForCausalLM.from_pretrained("toy-model", trust_remote_code=True)',
        "is no score of\nfunction",
    ):
        assert words in card, words
    assert "somewhere" not in card  # a path of this machine


def test_the_card_calls_no_chromosome_unseen_that_an_earlier_run_saw():
    now = {"dataset": "b", "test": ["x", "y", "z:0-9"], "md5": {"x": "1", "y": "2", "z:0-9": "3"}}
    before = {"dataset": "a", "train": ["chr1", "z:9-20"], "md5": {"chr1": "2", "z:9-20": "3"}}
    lines = about_data({"data": dict(now, before=[before])})
    assert "  - never saw x, z:0-9" in lines


def test_a_checkpoint_that_says_little_has_a_short_card(ckpt, tmp_path):
    held = torch.load(ckpt, weights_only=True)
    little = {key: held[key] for key in ("model", "model_args", "step")}
    save_checkpoint(tmp_path / "little.pt", dict(little, config={}, data={}))
    done = run("export.py", f"--ckpt={tmp_path / 'little.pt'}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "out/README.md").read_text()
    assert "1,234 steps" in card
    for words in (
        "bases read",
        "never saw",
        "What it scored",
        "trained on",
        "None",
        "nan",
        "fingerprint",
    ):
        assert words not in card


def test_an_earlier_export_is_replaced_and_nothing_else(ckpt, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    words = ("export.py", f"--ckpt={ckpt}", f"--out={out}/")
    assert run(*words).returncode == 0
    (out / "config.json").write_text("{}")
    assert run(*words).returncode == 0
    assert json.loads((out / "config.json").read_text())["model_type"] == "nanogpt_dna"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (out / "mine.txt").write_text("a note")
    one_line_error(run(*words), "holds mine.txt", "name another folder")
    assert {path.name for path in out.iterdir()} == FILES | {"mine.txt"}


def test_mistakes(ckpt, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("of something else")
    for out, words in (
        (other, "is no earlier export"),
        (other / "README.md", "is a file"),
        (tmp_path / "no" / "such", "make it first"),
        ("", "--out is empty"),
    ):
        one_line_error(run("export.py", f"--ckpt={ckpt}", f"--out={out}"), words)
    new = tmp_path / "new"
    one_line_error(run("export.py", f"--ckpt={tmp_path / 'no.pt'}", f"--out={new}"), "no.pt")
    one_line_error(run("export.py", f"--ckpt={other / 'README.md'}", f"--out={new}"), "damaged")
    one_line_error(run("export.py", "--seed=1"), "unknown setting 'seed'")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    words = ("export.py", f"--ckpt={ckpt}", f"--out={new}")
    one_line_error(run(*words), "this needs safetensors: pip install safetensors")
    assert not new.exists()
