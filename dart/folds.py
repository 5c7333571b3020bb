"""Which elements the probe trains on, selects by, and is tested on."""

import numpy as np

from dart.elements import spaced

FEW = 100  # with fewer elements than this to train on, or to select by, it is cross-validated
GROUPS = 5  # of chromosomes, at most, for cross-validation


def make_folds(elements, rows, tested, wanted):
    """(rows of elements for the probe, folds, which kind of folds they are).

    rows: {part: rows of elements}, as choose() gives them; tested: rows of elements to test on;
    wanted: how many to train on. A fold is (train, val, test), numbers into the rows returned. The
    official split has one fold; where it leaves too few elements, there is one for each group of
    chromosomes that is tested, or none if there are fewer than three chromosomes.
    """
    tested = spaced(tested, wanted)
    if "test" in rows and len(rows["train"]) >= FEW and len(rows["val"]) >= FEW:
        used, fold = official_fold(rows, tested, wanted)
        return used, [fold], "official split"
    every = np.concatenate(list(rows.values()))
    others = spaced(np.setdiff1d(every, tested), wanted)
    used = np.concatenate((tested, others))
    is_tested = np.arange(len(used)) < len(tested)
    folds = chromosome_folds(elements.chrom[used], is_tested)
    return used, folds, "cross-validated by chromosome"


def official_fold(rows, tested, wanted):
    """(rows used, one fold): train and select on the chromosomes that are for it."""
    train = spaced(rows["train"], wanted)
    val = spaced(rows["val"], wanted // 4 + 1)
    used = np.concatenate((train, val, tested))
    ends = [len(train), len(train) + len(val)]
    return used, np.split(np.arange(len(used)), ends)


def chromosome_folds(chrom, is_tested):
    """Folds of (M,) elements by chromosome: each group is tested in turn, the next one selects, the
    others train. Of a tested group, only the elements with is_tested.
    """
    names, counts = np.unique(chrom.astype(str), return_counts=True)
    n_groups = min(GROUPS, len(names))
    if n_groups < 3:
        return []
    group_of = {}
    for i, name in enumerate(names[np.argsort(-counts, kind="stable")]):
        group_of[name] = i % GROUPS  # the largest chromosomes in different groups
    group = np.array([group_of[name] for name in chrom])
    folds = []
    for tested_group in range(n_groups):
        test = is_tested & (group == tested_group)
        val = group == (tested_group + 1) % n_groups
        train = (group != tested_group) & ~val
        if test.any():
            folds.append((np.flatnonzero(train), np.flatnonzero(val), np.flatnonzero(test)))
    return folds
