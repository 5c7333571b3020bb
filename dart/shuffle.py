"""The official dinucleotide shuffle, for many windows at once.

It walks from base to base. For each letter there is a list of the places that follow one of its
occurrences; the walk goes from where it is to the next unused place on its letter's list. With the
lists as they stand this reads the element itself. With each list permuted, all but its last place,
it reads another order of the same neighbours: each pair of letters occurs as often as before, and
the first and the last base stay.
"""

import hashlib

import numpy as np

RIGHT = 4  # letters for the flanks, after A 0, C 1, G 2, T 3: their lists stay in order, so that
LEFT = 5  # the walk passes the flanks as they are
LETTERS = 6


def official_seed(chrom, start, end):
    """The seed that DART-Eval gives an element: SHA-256 of this text, modulo 2^128."""
    text = repr((0, chrom, start, end))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[-16:], "big")


def shuffle_paths(windows, low, high, seeds):
    """The shuffle of B windows -> (B, L) positions, at which a window reads as its control.

    windows: (B, L) bases, no N within the elements; low, high: (B,), a window's element is
    [low, high); seeds: B seeds for np.random.default_rng.
    """
    B, L = windows.shape
    position = np.arange(L)
    letters = np.where(position < low[:, None], LEFT, windows)
    letters = np.where(position >= high[:, None], RIGHT, letters).astype(np.uint8)
    # A window's lists, end to end: places sorted by the letter before them.
    lists = np.argsort(letters[:, :-1], axis=1, kind="stable") + 1
    counts = np.stack([(letters[:, :-1] == letter).sum(1) for letter in range(LETTERS)], 1)
    first = counts.cumsum(1) - counts  # where each letter's list begins
    permute(lists, first, counts, letters, high, seeds)
    return walk(lists, first, letters)


def permute(lists, first, counts, letters, high, seeds):
    """Permute the lists of A, C, G, T in place, each without its last place, in the order and with
    the draws of the official code.
    """
    B, L = letters.shape
    sizes = counts.copy()
    # The step from the element into its right flank is on a list too, the last: it is not shuffled.
    last_letter = letters[np.arange(B), high - 1]
    sizes[np.arange(B), last_letter] -= high < L
    for row, starts, ns, seed in zip(lists, first.tolist(), sizes.tolist(), seeds):
        rng = np.random.default_rng(seed)
        for letter in range(4):
            start = starts[letter]
            n = ns[letter]
            if n > 2:
                rng.shuffle(row[start : start + n - 1])


def walk(lists, first, letters):
    """Where the walks lead, (B, L): all windows take a step at a time together, in flat arrays."""
    B, L = letters.shape
    window = np.arange(B)
    # A list of its own for each letter of each window: its number, and its next unused place.
    list_at = (letters + LETTERS * window[:, None]).ravel()
    unused = (first + (L - 1) * window[:, None]).ravel()
    places = lists.ravel()
    path = np.zeros((L, B), np.int64)
    for step in range(1, L):
        current = list_at[window * L + path[step - 1]]
        path[step] = places[unused[current]]
        unused[current] += 1
    return path.T
