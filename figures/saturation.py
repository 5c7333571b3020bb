"""Draw a saturation of score.py as a heat map, with the sequence beneath.

  python score.py --saturate=chr21:22000000-22000200 --out=saturation.tsv
  python figures/saturation.py saturation.tsv saturation.png

Blue: another base makes the sequence less likely; red: likelier. White with a dot: the base that is
there. 100 bases a line.
"""

import csv
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LETTERS = "ACGT"
COLORS = dict(zip(LETTERS, ("#1b7837", "#2166ac", "#b8860b", "#b2182b")))
WIDTH = 100  # bases a line
MOST = 2000  # bases in a picture


def read(path):
    """(chromosome, first base, letters, (n, 4) nats) of a TSV that score.py --saturate wrote; "N"
    and nan where it has no row. Dies if it is none.
    """
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        places = [int(row["start"]) for row in rows]
        first = min(places)
        n = max(places) + 1 - first
        letters = ["N"] * n
        nats = np.full((n, 4), np.nan)
        for row, place in zip(rows, places):
            letters[place - first] = row["ref"]
            nats[place - first, LETTERS.index(row["alt"])] = float(row["llr"])
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"error: {path} is not what score.py --saturate writes ({type(error).__name__})")
    if n > MOST:
        sys.exit(f"error: {path} has {n:,} bases, a picture at most {MOST:,}: score fewer")
    return rows[0]["chrom"], first, "".join(letters), nats


def draw_line(axes, start, letters, nats, most):
    """One line of the picture: a region from base `start` on; most: the end of the colour scale."""
    image = axes.imshow(
        nats.T, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest"
    )
    for i, letter in enumerate(letters):
        if letter in LETTERS:
            axes.plot(i, LETTERS.index(letter), "k.", ms=1.5)
        axes.text(i, 4.3, letter, color=COLORS.get(letter, "0.6"), size=6, ha="center", va="center")
    ticks = range(0, len(letters), 20)
    axes.set_xticks(ticks, [f"{start + i:,}" for i in ticks], size=6)
    axes.set_yticks(range(4), LETTERS, size=7)
    axes.set_ylim(4.9, -0.5)
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
    return image


def main():
    if len(sys.argv) != 3:
        sys.exit("error: give a TSV of score.py --saturate and the picture to write")
    chrom, first, letters, nats = read(Path(sys.argv[1]))
    most = max(np.nanquantile(abs(nats), 0.99), 1e-6)
    starts = range(0, len(letters), WIDTH)
    width = min(WIDTH, len(letters))
    size = (1.6 + 0.095 * width, 0.5 + 0.95 * len(starts))
    figure, lines = plt.subplots(len(starts), 1, figsize=size, layout="constrained", squeeze=False)
    for axes, start in zip(lines[:, 0], starts):
        part = slice(start, start + WIDTH)
        image = draw_line(axes, first + start, letters[part], nats[part], most)
        axes.set_xlim(-0.5, width - 0.5)
    figure.colorbar(image, ax=lines, label="nats", aspect=8 * len(starts), pad=0.01)
    title = f"{chrom}, 0-based. Red: likelier with that base, blue: less likely"
    figure.suptitle(title, size=8)
    try:
        figure.savefig(sys.argv[2], dpi=150)
    except (OSError, ValueError) as error:
        sys.exit(f"error: cannot write {sys.argv[2]} ({error})")


if __name__ == "__main__":
    main()
