"""Writing what was computed: to a file, whole or not at all, or to standard output."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from config import die


def check_output(path):
    """Die if nothing can be written to `path`; "-" is standard output."""
    if not Path(path).absolute().parent.is_dir():
        die(f"--out={path}: no such folder: make it first")
    if Path(path).is_dir():
        die(f"--out={path} is a folder: name a file")


@contextmanager
def open_output(path):
    """A text file to write to, which takes the place of `path` when all is written; of "-" standard
    output.
    """
    if path == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    temporary = Path(f"{path}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_array(path):
    """A function that takes (n, width) float32 rows, and returns how many there were before; all
    rows become one .npy at `path`.
    """
    raw = Path(f"{path}.rows.tmp")
    temporary = Path(f"{path}.tmp")
    shape = [0, 0]
    try:
        with open(raw, "wb") as file:

            def add(rows):
                first = shape[0]
                file.write(np.ascontiguousarray(rows, np.float32))
                shape[:] = first + len(rows), rows.shape[1]
                return first

            yield add
        with open(temporary, "wb") as file:
            rows = np.zeros((0, 0), np.float32)
            if shape[0]:
                rows = np.memmap(raw, np.float32, "r", shape=tuple(shape))
            np.save(file, rows)
        os.replace(temporary, path)
    finally:
        raw.unlink(missing_ok=True)
        temporary.unlink(missing_ok=True)


def write_row(file, *cells):
    """A line of a TSV; numbers that are not whole have six digits behind the point."""
    texts = [f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in cells]
    file.write("\t".join(texts) + "\n")
