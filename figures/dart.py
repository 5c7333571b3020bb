"""Draw DART-Eval Task 1: the models of an eval_dart.py --json file, with their 95 % intervals,
above the published ones.

  python figures/dart.py out/dart.json figures/dart.png
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ZERO_SHOT = dict(fmt="oC0", label="zero-shot")
BOTH_STRANDS = dict(fmt="oC0", mfc="w", label="zero-shot, both strands")
PROBE = dict(fmt="sC1", label="probe, pairs")


def draw_point(axes, y, result, key, style):
    """A result[key] with its interval."""
    x = result[key]
    interval = [[x - result["low"]], [result["high"] - x]]
    axes.errorbar(x, y, xerr=interval, ms=4, lw=1, **style)


def draw_model(axes, y, name, row):
    """One of our models; returns the label of its line. A result that is nothing but ties says so
    in the label, and has no point.
    """
    label = name
    zero_shot = row.get("zero_shot", {})
    results = (
        (-0.2, zero_shot, "accuracy", ZERO_SHOT),
        (0, zero_shot.get("both_strands"), "accuracy", BOTH_STRANDS),
        (0.2, row.get("probe"), "paired", PROBE),
    )
    for shift, result, key, style in results:
        if not result:
            continue
        if result["ties"] < result["pairs"]:
            draw_point(axes, y + shift, result, key, style)
        elif style is not BOTH_STRANDS:
            label = f"{name} ({style['label']}: all ties)"
    return label


def draw_published(axes, first, published):
    """The published models, from the line `first` on, below a rule."""
    for y, (zero_shot, _, paired) in enumerate(published.values(), first):
        for x, style in ((zero_shot, "oC0"), (paired, "sC1")):
            if x:
                axes.plot(x, y, style, alpha=0.5, ms=4)
    axes.axhline(first - 0.5, color="0.6", lw=0.8)
    axes.text(
        1,
        first - 0.4,
        "published, on the whole registry ",
        va="top",
        ha="right",
        fontsize=7,
        transform=axes.get_yaxis_transform(),
    )


def main():
    if len(sys.argv) != 3:
        sys.exit("error: give the JSON file of eval_dart.py and the picture to write")
    source = Path(sys.argv[1])
    target = Path(sys.argv[2])
    try:
        held = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {source} is no JSON file of eval_dart.py ({type(error).__name__})")
    if "published" not in held:
        sys.exit(f"error: {source} is of Task {held['settings']['task']}: this draws Task 1")
    ours = {name: row for name, row in held["models"].items() if name != "uniform"}
    n_lines = len(ours) + len(held["published"])

    figure, axes = plt.subplots(figsize=(7.5, 1 + 0.3 * n_lines), layout="constrained")
    labels = []
    for y, (name, row) in enumerate(ours.items()):
        labels.append(draw_model(axes, y, name, row))
    draw_published(axes, len(ours), held["published"])
    labels += held["published"]

    axes.set_yticks(range(n_lines), labels)
    axes.set_ylim(n_lines - 0.5, -0.5)
    axes.set_xlabel("share of pairs in which the real window scores higher")
    axes.set_title(held.get("title", ""), fontsize=8)  # older files have none
    handles, names = axes.get_legend_handles_labels()
    shown = dict(zip(names, handles))  # each label once
    axes.legend(shown.values(), shown, fontsize=7, loc="lower left")
    figure.savefig(target, dpi=110)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
