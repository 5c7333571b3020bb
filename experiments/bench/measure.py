"""Timing in turns, and the rows of the table."""

import json
import math
import time
from pathlib import Path
from statistics import median

import torch

LOWER_IS_BETTER = {"s", "ms", "MB", "GB", "of the step"}


class Table:
    """Rows of the benchmark, printed as they come. rounds: turns of a timing; seconds: of each
    measurement in a turn. path: a JSON file for the rows so far; "": none.
    """

    def __init__(self, rounds=3, seconds=4.0, path=""):
        self.rounds = rounds
        self.seconds = seconds
        self.path = path
        self.rows = []

    def row(self, part, case, value, unit, anchor="", anchor_value=math.nan, spread=None):
        """Add a row. Its ratio is above 1 where we are better than the anchor, what a user would
        run instead.

        spread: lowest and highest ratio of the turns, where they are known.
        """
        if unit in LOWER_IS_BETTER:
            ratio = anchor_value / value
        else:
            ratio = value / anchor_value
        self.rows.append(
            dict(
                part=part,
                case=case,
                value=value,
                unit=unit,
                anchor=anchor,
                anchor_value=anchor_value,
                ratio=ratio,
            )
        )
        line = f"{part:8} {case:54} {value:12,.4g} {unit}"
        if anchor:
            line += f"   {anchor}: {anchor_value:,.4g}, ratio {ratio:.2f}"
        if spread:
            line += f" ({spread[0]:.2f}-{spread[1]:.2f} over the turns)"
        print(line, flush=True)
        if self.path:
            write_rows(self.rows, self.path)

    def calls(self, run, device):
        """Calls of run() a second, for about self.seconds."""
        began = now(device)
        n = 0
        while n < 1 or now(device) - began < self.seconds:
            run()
            n += 1
        return n / (now(device) - began)

    def turns(self, device, runs):
        """[{name: calls a second}], one for each round: all run in each, so that a busy machine
        slows all of them.

        The first call of each, outside the rounds, warms it up.
        """
        for run in runs.values():
            run()
        return [
            {name: self.calls(run, device) for name, run in runs.items()}
            for _ in range(self.rounds)
        ]

    def rate(self, device, run):
        """Calls of run() a second, the median over the rounds."""
        return median(turn["it"] for turn in self.turns(device, {"it": run}))


def write_rows(rows, path):
    """Write the rows as JSON; nan becomes null, which JSON knows."""
    text = json.dumps(rows)
    plain = json.loads(text, parse_constant=lambda nan: None)
    Path(path).write_text(json.dumps(plain, indent=1) + "\n")


def medians(turns):
    """{name: median} of the rates of turns."""
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


def ratio_spread(turns, name, anchor):
    """(lowest, highest) of one rate over another's in the same turn."""
    ratios = [turn[name] / turn[anchor] for turn in turns]
    return min(ratios), max(ratios)


def now(device):
    """Seconds on a clock, when the device has done what it was told so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
