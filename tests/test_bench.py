"""bench.py: what its rows say, and that its quick form runs."""
import json
import math

import pytest
import torch

import bench
from tests.conftest import one_line_error, run


def test_a_ratio_above_one_is_better_than_the_anchor():
    bench.ROWS.clear()
    bench.row("train", "a rate", 200.0, "bases/s", "nanoGPT", 100.0)
    bench.row("prepare", "a time", 2.0, "s", "gzip -dc", 4.0)
    bench.row("train", "alone", 3.0, "GB")
    assert [r["ratio"] for r in bench.ROWS[:2]] == [2.0, 2.0] and math.isnan(bench.ROWS[2]["ratio"])


def test_calls_counts_calls(monkeypatch):
    """With a clock that each call moves on by two seconds: as many calls as fit into the seconds asked for, over the time that they took."""
    clock, calls = [0.0], []
    monkeypatch.setattr(bench, "now", lambda dev: clock[0])
    monkeypatch.setattr(bench, "seconds", 5.0)

    def run():
        calls.append(1)
        clock[0] += 2.0
    assert bench.calls(run, torch.device("cpu")) == 0.5 and len(calls) == 3


@pytest.mark.parametrize("part", ("loader", "eval"))
def test_quick(tmp_path, part):
    out = run("bench.py", part, "--quick", f"--json={tmp_path / 'rows.json'}", "--device=cpu")
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert out.returncode == 0 and rows and all(r["part"] == part and r["value"] > 0 for r in rows), out.stderr
    assert set(rows[0]) == {"part", "case", "value", "unit", "anchor", "anchor_value", "ratio"}


def test_mistakes_are_one_line(tmp_path):
    one_line_error(run("bench.py", "training"), "is no part", "train, loader")
    one_line_error(run("bench.py", "train", "--quick", f"--nanogpt={tmp_path}", "--device=cpu"), "is no clone of nanoGPT")
