"""The .bin files of a genome, once fasta.py has written its records: each record to the split that
it is for.
"""

from collections import Counter
from contextlib import ExitStack

import numpy as np

from data.genome import REPEAT, SPLITS, C, G, N

CHUNK = 2**20  # bytes moved at a time


def sort_into_splits(records, parts, work):
    """Move records between and within the .bin files of a folder, to where parts has them ->
    {split: what meta.json says of it}.

    records: in the order in which they were written, each with the split whose file it is in and
    its offset there. parts: as assign_splits gives them.

    A file is put in order from its beginning on, in place. No record is overwritten before it is
    moved, for a split gets records out of another file only if none of its own were taken: names
    decide for all of a split or for none.
    """
    splits = {split: dict(bases=0, N=0, repeats=0, gc=0, chroms=[]) for split in SPLITS}
    with ExitStack() as stack:
        files = {}
        for split in SPLITS:
            files[split] = stack.enter_context(open(work / f"{split}.bin", "r+b"))
        for record in records:
            for split, start, end in parts[record["name"]]:
                total = splits[split]
                place = total["bases"]
                source = record["offset"] + start
                move(files[record["split"]], source, files[split], place, end - start)
                counts = record["counts"]
                if end - start < record["length"]:
                    counts = count_part(files[split], place, end - start)
                total["chroms"].append(row_of(record, start, end, place))
                for what, count in counts.items():
                    total[what] += count
        for split, file in files.items():
            file.truncate(splits[split]["bases"])
    return splits


def move(source, start, target, place, length):
    """Copy `length` bytes of an open file, from `start` on, to `place` in another one, or further
    forward in the same one.
    """
    if source is target and start == place:
        return
    for done in range(0, length, CHUNK):
        source.seek(start + done)
        chunk = source.read(min(CHUNK, length - done))
        target.seek(place + done)
        target.write(chunk)


def count_part(file, place, length):
    """What count_bases counts in `length` bases of an open file, from `place` on."""
    total = Counter()
    for done in range(0, length, CHUNK):
        file.seek(place + done)
        chunk = file.read(min(CHUNK, length - done))
        total.update(count_bases(np.frombuffer(chunk, np.uint8)))
    return total


def row_of(record, start, end, offset):
    """What meta.json says of bases [start, end) of a record that lie at `offset` in their file."""
    row = {"name": record["name"]}
    if "fasta_name" in record:
        row["fasta_name"] = record["fasta_name"]
    row.update(length=end - start, md5=record["md5"], gaps=record["gaps"], offset=offset)
    if end - start < record["length"]:
        inside = [[max(low, start), min(high, end)] for low, high in record["gaps"]]
        row.update(start=start, gaps=[gap for gap in inside if gap[0] < gap[1]])
    return row


def count_bases(bases):
    """{bases, N, repeats, gc} of (n,) uint8 bases; repeats and gc do not count N."""
    token = bases & 7
    return dict(
        bases=len(bases),
        N=int(np.count_nonzero(token == N)),
        repeats=int(np.count_nonzero(bases & (REPEAT | N) == REPEAT)),
        gc=int(np.count_nonzero(token == C) + np.count_nonzero(token == G)),
    )
