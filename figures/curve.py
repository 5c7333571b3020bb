"""Draw validation bits per base over the bases seen, from a run's log.csv, and the baselines of
its summary.json.

  python figures/curve.py out-laptop figures/laptop.png
  python figures/curve.py out curve.png --follow

A run that has not ended has no summary.json yet: its curve so far is drawn, without baselines.
--follow[=SECONDS] draws again whenever the log has grown, until the run or Ctrl-C ends it.
"""

import csv
import json
import math
import os
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

GROUPS = {"all": "C0", "repeats": "C1", "unique": "C2", "elements": "C3"}  # of bases: colours
STYLES = ("--", ":", "-.")  # of the baselines
SECONDS = 10  # between two looks at a log that is followed
USAGE = (
    "give the folder of a run and the picture to write, such as out out.png, then --follow or not"
)


def read_points(rows, column):
    """([million bases seen, ...], [bits, ...]) of the rows of log.csv that have a number there."""
    millions = []
    bits = []
    for row in rows:
        if (row.get(column) or "nan") != "nan":  # an old log has no elements
            millions.append(int(row["tokens"]) / 1e6)
            bits.append(float(row[column]))
    return millions, bits


def draw(axes, rows, table):
    """rows: of log.csv, as dicts. table: {name: bits per base}, of summary.json."""
    axes.plot(*read_points(rows, "bits"), color="0.8", lw=0.8, label="training batches")
    for group, color in GROUPS.items():
        millions, bits = read_points(rows, f"val_bits_{group}")
        if bits:
            label = f"validation, {group}"
            axes.plot(millions, bits, color=color, marker="o", ms=3, label=label)
    baselines = [name for name in table if name not in ("uniform", "this model")]
    for name, style in zip(baselines, STYLES):
        axes.axhline(table[name]["all"], color="k", lw=0.8, ls=style, label=f"{name}, all")
    axes.set(xlabel="million bases seen", ylabel="bits per base", ylim=(None, 2.01))
    axes.legend(fontsize=8)


def read_run(folder):
    """(lines of log.csv, text of summary.json) as they are now, None for a file that is not there.

    A last line that is not whole is left out: it is being written, or the run was killed at it.
    """
    lines = summary = None
    if (folder / "summary.json").is_file():  # first: the log of a run that has ended stays
        summary = (folder / "summary.json").read_text()
    if (folder / "log.csv").is_file():
        lines = (folder / "log.csv").read_text().splitlines(keepends=True)
        lines = [line for line in lines if line.endswith("\n")]
    return lines, summary


def draw_run(lines, summary, target):
    """Write the picture of what read_run gives. It replaces an older one whole."""
    rows = list(csv.DictReader(lines))
    table = json.loads(summary)["table"] if summary else {}
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    draw(axes, rows, table)
    temporary = Path(f"{target}.tmp")
    try:
        figure.savefig(temporary, dpi=110, format=target.suffix[1:] or "png")
        os.replace(temporary, target)
    except (OSError, ValueError) as error:
        sys.exit(f"error: cannot write {target} ({error})")
    finally:
        temporary.unlink(missing_ok=True)
        plt.close(figure)


def follow(folder, target, seconds):
    """Draw whenever the log has changed, until there is a summary.json: the run has ended."""
    print(
        f"{target} follows {folder}/log.csv, a look every {seconds:g} s; Ctrl-C ends this",
        flush=True,
    )
    drawn = None
    waits = False
    while True:
        lines, summary = read_run(folder)
        if lines is None and not waits:
            print(f"no {folder}/log.csv yet: waiting for a run there", flush=True)
            waits = True
        if lines is not None and (lines, summary) != drawn:
            draw_run(lines, summary, target)
            drawn = (lines, summary)
            if summary:
                break
        time.sleep(seconds)
    print(f"the run has ended: wrote {target}")


def read_words(words):
    """(folder, picture, seconds between looks or None) from a command line; dies if it is none."""
    seconds = None
    paths = []
    for word in words:
        key, equals, number = word.partition("=")
        if key == "--follow":
            try:
                seconds = float(number) if equals else SECONDS
            except ValueError:
                seconds = math.nan
            if not 0 < seconds < math.inf:
                sys.exit(f"error: {word}: give seconds above 0, such as --follow={SECONDS}")
        else:
            paths.append(Path(word))
    if len(paths) != 2 or paths[1].name.startswith("--"):
        sys.exit(f"error: {USAGE}")
    return *paths, seconds


def main():
    folder, target, seconds = read_words(sys.argv[1:])
    if seconds:
        try:
            follow(folder, target, seconds)
        except KeyboardInterrupt:
            print(f"stopped following {folder}/log.csv")
        return
    lines, summary = read_run(folder)
    if lines is None:
        sys.exit(f"error: no {folder}/log.csv: give the out_dir of a run")
    draw_run(lines, summary, target)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
