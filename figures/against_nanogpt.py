"""Draw reports of experiments.against_nanogpt: bits per base over bases seen, a row for each.

  python figures/against_nanogpt.py figures/against_nanogpt.png out-nanogpt/report.json

Left: all validation bases. Right: those whose last eight bases stand earlier in the window too,
where copying would help.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parent.parent))
from experiments.against_nanogpt import SCALES

RUNS = (("nanogpt", "nanoGPT, AdamW", "C3"), ("ours", "this repository", "C0"))  # in a report


def describe(scale):
    """The title of a row: where it ran, and the size of the model."""
    size = SCALES[scale]["size"]
    millions = 12 * size["n_layer"] * size["n_embd"] ** 2 / 1e6
    return f"{scale.upper()}, {size['n_layer']} × {size['n_embd']}, {millions:.1f}M parameters"


def draw(axes, report, column, title):
    """One picture. column: of the report's points, 1 for all bases, 2 for those where copying would
    help.
    """
    for key, label, color in RUNS:
        for run in report[key]:
            millions = [point[0] / 1e6 for point in run]
            bits = [point[column] for point in run]
            axes.plot(millions, bits, color=color, marker=".", lw=1.2, label=label)
            label = None  # one entry in the legend
    markov = report["markov"]
    best = min(markov, key=lambda order: markov[order][0])
    for order, style in (("4", ":"), ("6", "-."), ("8", "--"), (best, "-")):
        label = f"Markov {order}"
        if order == best:
            label += " (best order)"
        axes.axhline(markov[order][column - 1], color="0.6", lw=0.9, ls=style, label=label)
    axes.set(xscale="log", title=title)


def main():
    if len(sys.argv) < 3:
        sys.exit("error: give the picture to write and one or more report.json")
    target, *sources = [Path(word) for word in sys.argv[1:]]
    figure, rows = plt.subplots(
        len(sources), 2, figsize=(10, 3.8 * len(sources)), layout="constrained", squeeze=False
    )
    for (left, right), source in zip(rows, sources):
        report = json.loads(source.read_text())
        draw(left, report, 1, f"{describe(report['scale'])}: all bases")
        draw(right, report, 2, "after eight bases that stand earlier in the window")
        left.set(ylabel="bits per base")
    for axes in rows[-1]:
        axes.set(xlabel="million bases seen")
    handles, labels = rows[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=6)
    figure.savefig(target, dpi=110)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
