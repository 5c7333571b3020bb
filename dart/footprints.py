"""DART-Eval's Task 2, motif footprinting: is a motif in the middle of a background likelier than
the same letters in another order? A tie counts as right here, unlike in Task 1. With the official
motifs and backgrounds the sequences are the official ones, bit for bit. Beside the official
controls there are stricter ones, which keep each pair of neighbours as well (shuffle_pairs).
"""

import math
import random
from itertools import islice
from pathlib import Path

import numpy as np

from config import die, listed
from dart.elements import WINDOW, spaced
from dart.metrics import TIE, Z, ranks, share_above
from dart.motifs import consensus
from dart.pairs import make_pairs
from dart.progress import bar
from dart.zero_shot import score
from data import N, decode, encode, reverse_complement
from data.files import check_regular, read_lines

LIKELY = 0.7  # accuracy above which a motif counts as known
HALF = 0.5  # the same in DART-Eval's notebook
AT_ONCE = 64  # motifs whose sequences are made and scored together
TRIES = 1_000  # draws after which a site counts as having no other order of its pairs
IUPAC = set("ACGTURYSWKMBDHVN")


# ---- backgrounds


def read_backgrounds(path, setting="--backgrounds"):
    """(n, WINDOW) uint8 bases from a file such as DART-Eval's raw_seqs_350.txt, compressed or not:
    a sequence of WINDOW letters a line. Letters that are no base are N.

    setting: what the user named the file by, for messages. Dies at a line that is no such sequence,
    and if there are none.
    """
    path = Path(path)
    check_regular(path, setting)
    rows = []
    for i, line in enumerate(read_lines(path)):
        letters = line.strip().upper()
        if not letters:
            continue
        if not set(letters) <= IUPAC:
            die(f"{path}:{i + 1}: not DNA alone: a sequence a line is wanted, without its name")
        if len(letters) != WINDOW:
            die(f"{path}:{i + 1}: {len(letters):,} bases: sequences of {WINDOW} are wanted")
        rows.append(encode(letters))
    if not rows:
        die(f"{path} holds no sequences: give {setting}=FILE, a sequence of {WINDOW} a line")
    return np.stack(rows)


def backgrounds_from(genome, elements, n=100):
    """(n, WINDOW) uint8 bases: the controls of n of the elements, evenly spaced along them, as
    dart.pairs makes them; fewer if there are fewer elements. Dies if there are none.

    DART-Eval's are 100 of such controls too, from all chromosomes.
    """
    rows = spaced(np.arange(len(elements)), n)
    if len(rows) == 0:
        die(f"backgrounds are made of elements, {n} of {len(elements)} are none: give some")
    pairs, _ = make_pairs(genome, elements[rows])
    return pairs[:, 1]


# ---- sequences


def shuffle_letters(site, draws):
    """Another order of a site's letters, the official control: a list, shuffled again for as long
    as it is the site itself; None if the site is one letter alone, where the official code never
    ends. site: a list of bases; draws: a random.Random.
    """
    if len(set(site)) == 1:
        return None
    other = site.copy()
    while other == site:
        draws.shuffle(other)
    return other


def shuffle_pairs(site, draws):
    """The same for a stricter control, which keeps the pairs of neighbours too; None if TRIES draws
    find none.

    A walk from the first letter takes the letters that follow each in a random order; one that gets
    stuck before it has taken them all is drawn again, so that each order is as likely (Altschul and
    Erickson, Mol. Biol. Evol. 2 (1985), have a quicker way for longer sequences).
    """
    followers = [[] for _ in "ACGT"]
    for letter, after in zip(site, site[1:]):
        followers[letter].append(after)
    for _ in range(TRIES):
        unused = [draws.sample(letters, len(letters)) for letters in followers]
        walk = site[:1]
        while unused[walk[-1]]:
            walk.append(unused[walk[-1]].pop())
        if len(walk) == len(site) and walk != site:
            return walk
    return None


WHY_NONE = {  # why a shuffle finds no other order
    shuffle_letters: "their consensus is one letter alone",
    shuffle_pairs: "no other order keeps their consensus' pairs",
}


def shufflable(motifs, said=None, shuffle=shuffle_letters):
    """The motifs of whose consensus a shuffle finds another order, the others left out.

    said: a list that gets a line on those that are left out.
    """
    kept = []
    left_out = []
    for motif in motifs:
        if shuffle(consensus(motif).tolist(), random.Random(0)) is None:
            left_out.append(motif.name)
        else:
            kept.append(motif)
    if left_out and said is not None:
        said.append(f"left out, for {WHY_NONE[shuffle]}: {listed(left_out, 5)}")
    return kept


def check_motifs(motifs, shuffle=shuffle_letters):
    """Die at a motif that is longer than the window, or whose consensus has no other order."""
    for motif in motifs:
        length = len(motif.matrix)
        if length > WINDOW:
            die(f"motif {motif.name} has {length:,} bases: a window has {WINDOW}: take it out")
        if not shufflable([motif], shuffle=shuffle):
            die(
                f"motif {motif.name} is {decode(consensus(motif))}, which has no other order: "
                "take it out"
            )


def shuffle_sites(sites, n, seed, shuffle=shuffle_letters):
    """Shuffled anew for each background: for each of the (L,) sites (n, L) uint8.

    The draws come in the official order: all sites for the first background, then all for the
    second.
    """
    draws = random.Random(seed)
    letters = [site.tolist() for site in sites]
    shuffled = [np.empty((n, len(site)), np.uint8) for site in sites]
    for row in bar(range(n), "shuffles"):
        for site, out in zip(letters, shuffled):
            out[row] = shuffle(site, draws)
    return shuffled


def insert(backgrounds, site):
    """(n, T) backgrounds, with a (L,) site, or one of (n, L) each, in place of their middle.

    The middle is where DART-Eval has it: from T // 2 - L // 2 on.
    """
    length = site.shape[-1]
    start = backgrounds.shape[1] // 2 - length // 2
    out = backgrounds.copy()
    out[:, start : start + length] = site
    return out


def make_sequences(motifs, backgrounds, seed=0, shuffle=shuffle_letters):
    """Yields for each motif (2, n, T) uint8: its consensus in the middle of the (n, T) backgrounds,
    and there its letters shuffled. N stays N.

    With the official motifs, all of them and in their order, and the official backgrounds these
    are, bit for bit, the official sequences. Dies, before it yields, as check_motifs says.
    """
    check_motifs(motifs, shuffle)
    sites = [consensus(motif) for motif in motifs]
    shuffled = shuffle_sites(sites, len(backgrounds), seed, shuffle)
    for site, others in zip(sites, shuffled):
        yield np.stack((insert(backgrounds, site), insert(backgrounds, others)))


def on_both_strands(bases):
    """(..., n, T) bases -> (2, ..., n, T): as they are, and their reverse complements; N is A on
    either strand, as the official models see it.
    """
    both = np.stack((bases, reverse_complement(bases)))
    return np.where(both == N, 0, both)


# ---- judging


def judge_motifs(candidate, motifs, backgrounds, batch_size=128, seed=0, shuffle=shuffle_letters):
    """How well a candidate knows each motif: a list of results, as rate_motif() has them, with the
    motif's name and its consensus, in the order of the motifs.

    candidate: of dart.zero_shot. backgrounds: (n, WINDOW) uint8. batch_size: sequences at a time.
    shuffle: makes the controls. Dies at motifs that make_sequences does not take.
    """
    raw = log_likelihoods(candidate, on_both_strands(backgrounds), batch_size, "backgrounds")
    sequences = make_sequences(motifs, backgrounds, seed, shuffle)
    results = []
    for first in range(0, len(motifs), AT_ONCE):
        some = motifs[first : first + AT_ONCE]
        of_some = list(islice(sequences, len(some)))
        both = np.stack([on_both_strands(pairs) for pairs in of_some])
        what = f"motifs {first + 1}-{first + len(some)} of {len(motifs)}"
        scores = log_likelihoods(candidate, both, batch_size, what)
        for motif, score_of in zip(some, scores):
            result = {"name": motif.name, "consensus": decode(consensus(motif))}
            results.append(result | rate_motif(score_of, raw))
    return results


def log_likelihoods(candidate, bases, batch_size, what):
    """(..., T) bases -> (...) float64 nats, as dart.zero_shot.score has them; zeros of a candidate
    to whom all sequences are equally likely. what: they are, for the progress bar.
    """
    if candidate.model is None:
        return np.zeros(bases.shape[:-1])
    with candidate.autocast:
        name = f"{candidate.name}: {what}"
        return score(candidate.model, bases, batch_size, name, candidate.device)


def rate_motif(scores, raw):
    """The result of a motif from (2 strands, 2, n) log-likelihoods in nats, with the consensus and
    with its letters shuffled, and from the backgrounds' own, (2 strands, n).

    accuracy: the share of the 2n pairs in which the consensus is at least as likely, the official
    number: a tie, up to TIE nats, is right. ties: how many there are. both_strands: the same where
    the strands' log-likelihoods are averaged first, of n pairs. p: the official P-value, of
    Wilcoxon's test. against_background: the official third number, the share of the 2n pairs in
    which the consensus changes the background's log-likelihood by more than the shuffled one does.
    median: of the difference, in nats.
    """
    difference = scores[:, 0] - scores[:, 1]
    untied = np.where(abs(difference) <= TIE, 0, difference)
    change = abs(scores - raw[:, None])
    return {
        "pairs": difference.size,
        "accuracy": float((difference >= -TIE).mean()),
        "ties": int((abs(difference) <= TIE).sum()),
        "both_strands": float((difference.mean(0) >= -TIE).mean()),
        "p": wilcoxon(untied.ravel()),
        "against_background": float((change[:, 0] > change[:, 1] + TIE).mean()),
        "median": float(np.median(difference)),
    }


def wilcoxon(difference):
    """The P-value of Wilcoxon's signed-rank test that (n,) differences tend to be above 0; None if
    all are 0.

    As scipy.stats.wilcoxon(..., alternative="greater") computes it for n above 50: zeros left out,
    equal ones share their ranks, normal approximation without a correction for continuity.
    """
    difference = difference[difference != 0]
    n = len(difference)
    if n == 0:
        return None
    above = ranks(abs(difference))[difference > 0].sum()
    _, count = np.unique(abs(difference), return_counts=True)
    variance = n * (n + 1) * (2 * n + 1) / 24 - (count**3 - count).sum() / 48
    z = (above - n * (n + 1) / 4) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2)) / 2


# ---- all motifs


def summary(results, extremes=10):
    """Over a list of judge_motifs' results.

    accuracy: the mean over motifs, with low and high, its 95 % interval (normal, as if motifs were
    drawn independently); both_strands: the same mean, of averaged strands. known: the share of
    motifs with an accuracy above LIKELY, with its 95 % interval (Wilson's score); above_half: above
    HALF. quantiles: of accuracy, at 0, 25, 50, 75 and 100 %. ties: how many of all pairs. always,
    never: how many motifs have an accuracy of 1, of 0. best, worst: (name, accuracy) of `extremes`
    motifs each, from the end on; of equal accuracies the median difference decides. with_cpg,
    without_cpg: the mean accuracies of motifs whose consensus holds a CG and of the others, None of
    none: CG is rare in a genome, and nearly half of the shuffles of such a consensus have fewer.
    """
    accuracy = np.array([result["accuracy"] for result in results])
    has_cpg = np.array(["CG" in result["consensus"] for result in results])
    mean = float(accuracy.mean())
    low = 0.0
    high = 1.0
    if len(accuracy) > 1:
        half = Z * float(accuracy.std(ddof=1)) / math.sqrt(len(accuracy))
        low = max(0.0, mean - half)
        high = min(1.0, mean + half)
    ordered = sorted(results, key=lambda result: (result["accuracy"], result["median"]))
    ranked = [(result["name"], result["accuracy"]) for result in ordered]
    return {
        "motifs": len(results),
        "accuracy": mean,
        "low": low,
        "high": high,
        "both_strands": float(np.mean([result["both_strands"] for result in results])),
        "known": share_above(accuracy, LIKELY),
        "above_half": share_above(accuracy, HALF),
        "quantiles": np.quantile(accuracy, (0, 0.25, 0.5, 0.75, 1)).tolist(),
        "pairs": sum(result["pairs"] for result in results),
        "ties": sum(result["ties"] for result in results),
        "with_cpg": float(accuracy[has_cpg].mean()) if has_cpg.any() else None,
        "without_cpg": float(accuracy[~has_cpg].mean()) if not has_cpg.all() else None,
        "always": int((accuracy == 1).sum()),
        "never": int((accuracy == 0).sum()),
        "best": ranked[::-1][:extremes],
        "worst": ranked[:extremes],
    }
