"""The benchmark: what its rows say, and that its quick form runs."""

import json
import math

import pytest
import torch

from experiments.bench import measure
from experiments.bench.measure import Table
from tests.conftest import one_line_error, run


def test_a_ratio_above_one_is_better_than_the_anchor():
    table = Table()
    table.row("train", "a rate", 200.0, "bases/s", "nanoGPT", 100.0)
    table.row("prepare", "a time", 2.0, "s", "gzip -dc", 4.0)
    table.row("train", "alone", 3.0, "GB")
    assert [row["ratio"] for row in table.rows[:2]] == [2.0, 2.0]
    assert math.isnan(table.rows[2]["ratio"])


def test_calls_counts_calls(monkeypatch):
    """With a clock that each call moves on by two seconds: three calls fit into five."""
    clock, calls = [0.0], []
    monkeypatch.setattr(measure, "now", lambda device: clock[0])

    def call():
        calls.append(1)
        clock[0] += 2.0

    assert Table(seconds=5.0).calls(call, torch.device("cpu")) == 0.5 and len(calls) == 3


def test_the_spread_is_of_ratios_within_a_turn():
    turns = [{"a": 2.0, "b": 1.0}, {"a": 10.0, "b": 20.0}]
    assert measure.ratio_spread(turns, "a", "b") == (0.5, 2.0)


@pytest.mark.parametrize("part", ("loader", "eval"))
def test_quick(tmp_path, part):
    out = run(
        "-m",
        "experiments.bench",
        part,
        "--quick",
        f"--json={tmp_path / 'rows.json'}",
        "--device=cpu",
    )
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert (
        out.returncode == 0 and rows and all(r["part"] == part and r["value"] > 0 for r in rows)
    ), out.stderr
    assert set(rows[0]) == {"part", "case", "value", "unit", "anchor", "anchor_value", "ratio"}


def test_mistakes_are_one_line(tmp_path):
    one_line_error(run("-m", "experiments.bench", "training"), "is no part", "train, loader")
    one_line_error(
        run("-m", "experiments.bench", "train", "--quick", f"--nanogpt={tmp_path}", "--device=cpu"),
        "is no clone of nanoGPT",
    )
