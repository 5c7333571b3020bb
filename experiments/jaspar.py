"""JASPAR's motifs as a MEME file, for DART-Eval's Task 2: from the database in the wheel of the
package pyjaspar, which is used as data alone.

  pip download --no-deps pyjaspar && unzip pyjaspar-*.whl -d pyjaspar
  python -m experiments.jaspar --database=pyjaspar/pyjaspar/data/JASPAR2026.sqlite \\
      --out=vertebrates.meme

Of each matrix (such as MA0002) the latest version, of the collection CORE; vertebrates by default.
--one=True: of each factor, by its name in upper case, the matrix that came last into the database.
"""

import sqlite3
from pathlib import Path

import numpy as np

from config import configure, die
from data.files import check_regular

database = ""  # JASPAR2026.sqlite
out = "vertebrates.meme"  # the MEME file to write
group = "vertebrates"  # tax group: vertebrates | plants | insects | fungi ...
collection = "CORE"  # CORE | UNVALIDATED
one = False  # one motif a factor
# ---- end of settings

HEAD = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25
"""
MATRICES = """
select distinct MATRIX.ID, BASE_ID, VERSION, NAME from MATRIX
join MATRIX_ANNOTATION on MATRIX_ANNOTATION.ID = MATRIX.ID
where COLLECTION = ? and TAG = 'tax_group' and VAL = ?
order by BASE_ID, VERSION
"""


def read_matrices(connection):
    """[(number in the database, MA0002.3, RUNX1)] by ID; dies if there are none."""
    latest = {}
    for key, base, version, name in connection.execute(MATRICES, (collection, group)):
        latest[base] = (key, f"{base}.{version}", name)  # a later version replaces one before
    if not latest:
        die(f"{database} has no motifs of {group} in {collection}: give another --group")
    rows = list(latest.values())
    if one:
        last = {}
        for row in sorted(rows):
            last[row[2].upper()] = row
        rows = sorted(last.values(), key=lambda row: row[1])
    return rows


def read_counts(connection, key):
    """(L, 4) counts of the matrix with this number in the database."""
    rows = connection.execute(
        "select col, row, val from MATRIX_DATA where ID = ? order by col, row", (key,)
    ).fetchall()
    return np.array([value for _, _, value in rows], np.float64).reshape(-1, 4)


def meme_text(name, counts):
    """A motif of (L, 4) counts as MEME has it: probabilities."""
    total = counts.sum(1)
    sites = f"{total.max():g}"
    lines = [f"\nMOTIF {name}"]
    lines.append(f"letter-probability matrix: alength= 4 w= {len(counts)} nsites= {sites} E= 0")
    for row in counts / total[:, None]:
        lines.append(" ".join(f"{value:.6f}" for value in row))
    return "\n".join(lines) + "\n\n"


def main(words=None):
    """Write the file. words: of a command line, those that Python was started with by default."""
    configure(globals(), words)
    check_regular(Path(database), "--database")
    try:
        connection = sqlite3.connect(f"{Path(database).absolute().as_uri()}?mode=ro", uri=True)
        matrices = read_matrices(connection)
        texts = [
            meme_text(f"{base} {name}", read_counts(connection, key))
            for key, base, name in matrices
        ]
    except sqlite3.Error as error:
        die(f"{database} is no database of JASPAR ({error}): the docstring says how to get it")
    Path(out).write_text(HEAD + "".join(texts), encoding="utf-8")
    print(f"{out}: {len(matrices):,} motifs of {group}")


if __name__ == "__main__":
    main()
