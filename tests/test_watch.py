"""Watching a run: stand-ins for wandb and TensorBoard that write down what they are told, the curve
that follows a log, the end that patience makes, checkpoints that are kept.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
import types

import pytest

from runtime.run_folder import log_columns
from tests.conftest import ROOT, one_line_error, run, write_genome
from tests.test_train import load, rows, same_run, train
from train import LOSSES

COLUMNS = log_columns(LOSSES)

WANDB = """
import json, os

def record(**what):
    with open(os.environ["RECORD"], "a") as file:
        file.write(json.dumps(what) + "\\n")

class Run:
    def define_metric(self, name, step_metric=None):
        record(metric=name, over=step_metric)

    def log(self, values, step):
        if step >= int(os.environ.get("FAILS_FROM", 1000)):
            raise ConnectionError("no network\\nand more")
        record(number=step, values=values)

def init(**words):
    if "REFUSES" in os.environ:
        raise ValueError("no key")
    record(init=words)
    return Run()
"""
QUICK = ("--markov_order=0",)
BOTH = (*QUICK, "--wandb_log", "--tensorboard_log", "--keep_every=3")
STILL = (*QUICK, "--learning_rate=0", "--embed_lr=0", "--head_lr=0")  # no evaluation is better
STILL += ("--eval_interval=1", "--patience=2", "--keep_every=1")


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """The stand-ins, in place for the scripts that a test runs. Returns what reads the records."""
    path = tmp_path / "records"
    (tmp_path / "packages" / "wandb").mkdir(parents=True)
    (tmp_path / "packages" / "wandb" / "__init__.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("RECORD", str(path))

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            self.folder = folder
            self.record(purge_step=purge_step)

        def record(self, **what):
            with open(path, "a") as file:
                file.write(json.dumps(dict(what, folder=self.folder)) + "\n")

        def add_scalar(self, name, value, x):
            self.record(name=name, value=value, x=x)

        def flush(self):
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)

    def read(key):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return [each for each in records if key in each]

    return read


def arrived(records):
    """What wandb keeps of the rows: those whose number is above the last one's."""
    kept = []
    for each in records:
        if not kept or each["number"] > kept[-1]["number"]:
            kept.append(each)
    return [each["values"] for each in kept]


def test_what_is_logged_and_a_run_that_goes_on(genome_folder, tmp_path, recorded):
    """Every row of log.csv is there, also in a run that went on from a state before its last."""
    out = tmp_path / "out"
    process = train(genome_folder, out, *BOTH, "--wandb_project=p")
    assert process.returncode == 0, process.stderr
    (init,) = recorded("init")
    init = init["init"]
    assert (init["project"], init["name"], init["config"]["n_embd"]) == ("p", "out", 32)
    assert {"metric": "*", "over": "step"} in recorded("metric")
    written = rows(out)
    values = arrived(recorded("number"))
    assert [str(each["step"]) for each in values] == [row["step"] for row in written]
    for row, each in zip(written, values):
        assert str(each["bases"]) == row["tokens"]
        if row["val_bits_all"]:
            assert each["val/bits_all"] == pytest.approx(float(row["val_bits_all"]))
            assert {"val/bits_repeats", "val/bits_unique"} <= set(each)
            assert "val/bits_elements" not in each  # no elements are known: nan
        else:
            for name, column in (("loss", "loss"), ("bits", "bits"), ("grad_norm", "grad_norm")):
                assert each[f"train/{name}"] == pytest.approx(float(row[column]), rel=1e-5)
            assert each["train/lr"] == pytest.approx(float(row["lr"]))
            assert each["train/bases_per_second"] > 0

    scalars = recorded("name")
    by_step = [each for each in scalars if each["folder"].endswith("by_step")]
    by_bases = [each for each in scalars if each["folder"].endswith("by_bases")]
    assert [each["x"] for each in by_step if each["name"] == "train/loss"] == [1, 2, 3, 4, 5, 6]
    assert [each["x"] for each in by_step if each["name"] == "val/bits_all"] == [3, 6]
    last = by_bases[-1]
    assert last["x"] == int(written[-1]["tokens"]) and last["value"] == by_step[-1]["value"]

    shutil.copytree(out, tmp_path / "whole")
    shutil.copy(out / "ckpt-3.pt", out / "ckpt.pt")  # as after a crash: steps 4 to 6 are done again
    again = train(genome_folder, out, *BOTH, "--wandb_project=q", "--wandb_run_name=another")
    assert again.returncode == 0 and "resuming" in again.stdout, again.stderr
    same_run(tmp_path / "whole", out)
    first, second = (each["init"] for each in recorded("init"))
    assert first["id"] == second["id"] and second["resume"] == "allow"
    assert second["name"] == "another"
    assert arrived(recorded("number")) == values  # no step twice
    purged = [each["purge_step"] for each in recorded("purge_step")]
    assert purged == [1, 1, 4, load(out / "ckpt-3.pt")["bases"] + 1]

    fresh = train(genome_folder, out, *BOTH, "--init_from=scratch", "--max_iters=3")
    assert fresh.returncode == 0, fresh.stderr
    assert recorded("init")[-1]["init"]["id"] != first["id"]
    assert (out / "ckpt-6.pt.old").exists() and not (out / "ckpt-6.pt").exists()


def test_the_others_of_a_team_log_nothing(genome_folder, tmp_path, recorded, monkeypatch):
    """Two processes; and it ends by patience on both, and not again by the same command."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    out = tmp_path / "out"
    process = train(genome_folder, out, *STILL, "--wandb_log", torchrun=2)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("ending after step 3") == 1
    assert (out / "summary.json").exists() and load(out / "ckpt.pt")["step"] == 3
    assert len(recorded("init")) == 1
    assert [each["number"] for each in recorded("number")] == [2, 3, 4, 5, 6, 7]


def test_a_watcher_that_fails_ends_no_run(genome_folder, tmp_path, recorded, monkeypatch):
    monkeypatch.setenv("FAILS_FROM", "5")
    process = train(genome_folder, tmp_path / "out", *BOTH)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("warning: wandb failed at step 3 (no network)") == 1
    assert [each["number"] for each in recorded("number")] == [2, 4]
    assert len(rows(tmp_path / "out")) == 8
    assert recorded("name")[-1]["x"] == int(rows(tmp_path / "out")[-1]["tokens"])  # tensorboard
    monkeypatch.setenv("REFUSES", "1")  # one that does not start at all is a mistake to mend
    refused = train(genome_folder, tmp_path / "refused", *BOTH)
    one_line_error(refused, "wandb does not start (no key)", "WANDB_MODE=offline")


@pytest.mark.parametrize(
    "setting, module, package",
    [
        ("wandb_log", "wandb", "wandb"),
        ("tensorboard_log", "torch.utils.tensorboard", "tensorboard"),
    ],
)
def test_a_package_that_is_missing(genome_folder, tmp_path, monkeypatch, setting, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    process = train(genome_folder, tmp_path / "out", f"--{setting}")
    one_line_error(process, setting, f"pip install {package}")
    assert not (tmp_path / "out").exists()


# ---- patience, the best, what is kept


def test_patience_ends_a_run_as_max_iters_does(genome_folder, tmp_path):
    """At the same step, to the bit, when it was cut in between; larger patience goes on."""
    whole = tmp_path / "whole"
    process = train(genome_folder, whole, *STILL)
    assert process.returncode == 0, process.stderr
    assert (
        "ending after step 3: 2 evaluations were no better than best.pt, by all" in process.stdout
    )
    assert process.stdout.strip().endswith(f"checkpoint: {whole / 'ckpt.pt'}")
    held = load(whole / "ckpt.pt")
    assert (held["step"], load(whole / "best.pt")["step"]) == (3, 1)

    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    shutil.copy(whole / "ckpt-2.pt", cut / "ckpt.pt")
    assert train(genome_folder, cut, *STILL).returncode == 0
    same_run(whole, cut)

    before = rows(cut)
    again = train(genome_folder, cut, *STILL)
    assert again.returncode == 0 and "ending after step 3" in again.stdout, again.stderr
    assert again.stdout.splitlines()[-13:-5] == process.stdout.splitlines()[-13:-5]
    assert rows(cut) == before
    on = train(genome_folder, cut, *STILL, "--patience=4")
    assert on.returncode == 0 and "ending after step 5" in on.stdout, on.stderr
    assert sorted(path.name for path in cut.glob("ckpt-*")) == [f"ckpt-{i}.pt" for i in range(1, 6)]


def test_the_best_is_of_the_loss_that_is_named(genome_folder, tmp_path):
    words = (*QUICK, "--eval_interval=1", "--learning_rate=0.5", "--best_by=repeats")
    process = train(genome_folder, tmp_path, *words)
    assert process.returncode == 0, process.stderr
    best = load(tmp_path / "best.pt")
    bits = [float(row["val_bits_repeats"]) for row in rows(tmp_path) if row["val_bits_repeats"]]
    assert best["best_bits"] == best["val"]["repeats"] == pytest.approx(min(bits), rel=1e-5)
    one_line_error(train(genome_folder, tmp_path, *QUICK), "best_by is repeats there and all here")
    before = [row["step"] for row in rows(tmp_path) if row["val_bits_all"]]
    more = (*QUICK, "--eval_interval=1", "--learning_rate=0.5", "--max_iters=9")
    other = train(genome_folder, tmp_path, *more, "--init_from=resume", "--best_by=unique")
    assert other.returncode == 0, other.stderr
    evaluated = [row for row in rows(tmp_path) if row["val_bits_all"]]
    assert [row["step"] for row in evaluated][: len(before)] == before
    since = [float(row["val_bits_unique"]) for row in evaluated[len(before) - 1 :]]
    assert load(tmp_path / "ckpt.pt")["best_bits"] == pytest.approx(min(since), rel=1e-5)
    best = load(tmp_path / "best.pt")  # of the new loss, though it was the old one's before
    assert best["best_bits"] == best["val"]["unique"] == pytest.approx(min(since), rel=1e-5)


def test_other_validation_bases_leave_the_log_as_it_was(genome_folder, tmp_path):
    assert train(genome_folder, tmp_path, "--eval_interval=2").returncode == 0
    before = rows(tmp_path)
    words = ("--eval_interval=2", "--eval_tokens=20480", "--init_from=resume")
    again = train(genome_folder, tmp_path, *words)
    assert again.returncode == 0 and "eval_tokens is" in again.stdout, again.stderr
    after = rows(tmp_path)
    assert after[: len(before) - 1] == before[:-1]  # the last evaluation is made anew
    assert after[-1]["step"] == before[-1]["step"] and len(after) == len(before)
    assert "step 6/6 | validation" in again.stdout


@pytest.mark.parametrize(
    "word, message",
    [
        ("--best_by=elements", "no such bases are known"),
        ("--best_by=repeat", "give one of all, repeats"),
        ("--keep_every=4", "a multiple of eval_interval = 3"),
        ("--patience=-1", "patience = -1"),
    ],
)
def test_mistakes_are_one_line(genome_folder, tmp_path, word, message):
    one_line_error(train(genome_folder, tmp_path / "out", word), message)
    assert not (tmp_path / "out").exists()


def test_nothing_is_best_where_repeats_are_unknown(tmp_path):
    letters = "ACGTTGCA" * 200
    plain = write_genome(tmp_path / "plain", {"train": {"a": letters}, "val": {"b": letters}})
    process = train(plain, tmp_path / "out", "--best_by=unique")
    one_line_error(process, "best_by = unique: no such bases are known")


# ---- the curve that follows a log


def evaluation(step, bits):
    """The line of an evaluation in a log.csv."""
    row = dict(step=step, tokens=step * 1000, val_bits_all=bits, val_bits_unique=bits)
    return ",".join(str(row.get(column, "")) for column in COLUMNS) + "\n"


def start_following(out, picture):
    words = [sys.executable, "figures/curve.py", str(out), str(picture), "--follow=0.05"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # a shell starts what it puts into the background with Ctrl-C ignored, and children inherit it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(words, cwd=ROOT, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_until(is_so):
    """Wait until is_so() is true; fails after 30 seconds."""
    end = time.time() + 30
    while not is_so():
        assert time.time() < end, "waited in vain"
        time.sleep(0.02)


def test_the_curve_follows_a_log_until_the_run_ends(tmp_path):
    """From before there is a log, over a line that is written in two parts, to the summary."""
    log = tmp_path / "log.csv"
    picture = tmp_path / "curve.png"
    process = start_following(tmp_path, picture)
    assert "follows" in process.stdout.readline()
    assert "no " in process.stdout.readline()
    log.write_text(",".join(COLUMNS) + "\n" + evaluation(1, 1.9))
    wait_until(picture.exists)
    drawn = picture.stat().st_ino
    line = evaluation(2, 1.8)
    with open(log, "a") as file:
        file.write(line[:9])
        file.flush()
        time.sleep(0.3)
        assert picture.stat().st_ino == drawn  # half a line is nothing new
        file.write(line[9:])
    wait_until(lambda: picture.stat().st_ino != drawn)
    table = {name: {"all": bits} for name, bits in (("uniform", 2), ("bigram", 1.94))}
    (tmp_path / "summary.tmp").write_text(json.dumps({"table": table}))
    (tmp_path / "summary.tmp").rename(tmp_path / "summary.json")
    text, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and not errors, errors
    assert text.splitlines() == [f"the run has ended: wrote {picture}"]  # and waited once
    assert not list(tmp_path.glob("*.tmp"))


def test_the_curve_of_a_stopped_run_is_followed_until_ctrl_c(tmp_path):
    log = ",".join(COLUMNS) + "\n" + evaluation(1, 1.9) + evaluation(2, 1.8)[:-3]
    (tmp_path / "log.csv").write_text(log)
    process = start_following(tmp_path, tmp_path / "curve.svg")
    wait_until((tmp_path / "curve.svg").exists)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and not errors, errors
    assert len(text.splitlines()) == 2 and text.splitlines()[-1].startswith("stopped following")


@pytest.mark.parametrize("words", (("out",), ("out", "x.png", "--follow=0"), ("out", "--folow")))
def test_mistakes_at_the_curve(words):
    one_line_error(run("figures/curve.py", *words), "give")
