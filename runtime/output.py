"""Writing what was computed: to a file, whole or not at all, or to standard output."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from config import die


def check_output(path, setting="out", inputs=()):
    """Die if no file can be written at `path`; "-" is standard output.

    setting: what the user named it by. inputs: paths that are read, which it must not be.
    """
    if path == "-":
        return
    place = Path(path).resolve()
    if not place.parent.is_dir():
        die(f"--{setting}={path}: no such folder: make it first")
    if place.is_dir():
        die(f"--{setting}={path} is a folder: name a file")
    if place.exists() and not place.is_file():
        die(f"--{setting}={path} is no regular file: name one, or - for standard output")
    for read in inputs:
        if read and place == Path(read).resolve():
            die(f"--{setting}={path} is a file that is read: name another one")


@contextmanager
def open_output(path):
    """A text file to write to, which takes the place of `path` when all is written; of "-" standard
    output.
    """
    if path == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    place = Path(path).resolve()  # a link stays, what it leads to is replaced
    temporary = Path(f"{place}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            yield file
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_array(path):
    """A function that takes (n, width) float32 rows, and returns how many there were before; all
    rows become one .npy at `path`.
    """
    place = Path(path).resolve()
    raw = Path(f"{place}.rows.tmp")
    temporary = Path(f"{place}.tmp")
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
        os.replace(temporary, place)
    finally:
        raw.unlink(missing_ok=True)
        temporary.unlink(missing_ok=True)


def write_row(file, *cells):
    """A line of a TSV; numbers that are not whole have six digits behind the point."""
    texts = [f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in cells]
    file.write("\t".join(texts) + "\n")
