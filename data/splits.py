"""Which records of a genome are taken, and which of them are for training, validation and test.

A record is a dict with at least a name, the description behind it, and a length in bases.
"""

import hashlib

from config import die, listed
from data.names import (
    CHROMOSOME,
    COPY,
    ORGANELLE,
    SCAFFOLD,
    chromosome_key,
    human_chromosome,
    kind_of,
)

DART_EVAL = {  # what the benchmark selects and tests on
    "val": ["chr6", "chr21"],
    "test": ["chr5", "chr10", "chr14", "chr18", "chr20", "chr22"],
}
AUTO = ["auto"]
TAIL = ["tail"]
NOT_NAMED = "not named by --chroms"
HELD_OUT = 1 / 20  # of all bases, each for val and test, where no name tells
MOST = 1 / 5  # of all bases, of a record that is held out whole
TAIL_SHARE = 1 / 10  # of a chromosome of which only the end is held out


def names_in(text):
    """The names in a setting such as "chr19, chr21", each once."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return list(dict.fromkeys(names))


def read_splits(val, test):
    """{"val": names, "test": names} of the settings of these names."""
    return {"val": names_in(val), "test": names_in(test)}


def is_named(name, names):
    """Whether a record's name is among these, as it is or as another name of its chromosome."""
    return name in names or chromosome_key(name) in {chromosome_key(other) for other in names}


def bases_of(records):
    """How many bases these records have."""
    return sum(record["length"] for record in records)


# ---- which are taken


def reason_to_skip(name, description, only, settings):
    """Why a record is left out, as far as it tells by itself; "" if it may be taken.

    only: the names to take; without any, all but copies of chromosomes that no setting names.
    settings: as read_splits gives them.
    """
    if only:
        return "" if is_named(name, only) else NOT_NAMED
    if kind_of(name, description) == COPY and not is_asked_for(name, settings):
        return COPY
    return ""


def is_asked_for(name, settings):
    """Whether the settings, as read_splits gives them, name a record."""
    return any(names not in (AUTO, TAIL) and is_named(name, names) for names in settings.values())


def choose_records(records, only, settings):
    """(records taken, {reason: records left out}) of those that reason_to_skip does not skip.

    Organelles are left out, and unplaced scaffolds too unless most of the bases are in them; what
    the settings name is not.
    """
    kinds = {}
    for record in records:
        kind = kind_of(record["name"], record["description"])
        kinds.setdefault(kind, []).append(record)
    organelles = kinds.get(ORGANELLE, [])
    scaffolds = kinds.get(SCAFFOLD, [])
    left_out = {}
    if not only and len(organelles) < len(records):
        left_out[ORGANELLE] = organelles
    if not only and bases_of(kinds.get(CHROMOSOME, [])) > bases_of(scaffolds):
        left_out[SCAFFOLD] = scaffolds
    for reason, some in left_out.items():
        left_out[reason] = [r for r in some if not is_asked_for(r["name"], settings)]
    gone = {record["name"] for some in left_out.values() for record in some}
    taken = [record for record in records if record["name"] not in gone]
    return taken, {reason: some for reason, some in left_out.items() if some}


# ---- where they go


def split_by_name(name, description, settings):
    """The split that a record is for by its name: where the settings name it, else where DART-Eval
    has a chromosome that it is or looks like, if they leave that open; "" if no name tells.

    settings: as read_splits gives them. Dies if both name it.
    """
    named = [
        split
        for split, names in settings.items()
        if names not in (AUTO, TAIL) and is_named(name, names)
    ]
    if len(named) > 1:
        die(f"{name} is in both --val_chroms and --test_chroms: leave it in one")
    if named:
        return named[0]
    chromosome = human_chromosome(name, description)
    for split, names in settings.items():
        if names == AUTO and chromosome in DART_EVAL[split]:
            return split
    return ""


def assign_splits(records, settings):
    """({name: [(split, start, end), ...]}, lines that say how): which part of each record goes
    where, 0-based and half-open, in order. settings: as read_splits gives them.

    - Names go first: those in the settings, and for "auto" those of DART-Eval's chromosomes.
    - Where there are none of these, whole records are held out in the order of a hash of their
      names, about a twentieth of the bases each; where a genome has too few records for that, the
      end of the longest one is for validation.
    - "tail" asks for the end of the longest one.
    """
    split_of = {}
    for record in records:
        split = split_by_name(record["name"], record["description"], settings)
        if split:
            split_of[record["name"]] = split
    lines = lines_on_names(split_of, settings)
    is_human = bool(lines)
    tails = [split for split, names in settings.items() if names == TAIL]
    for split, names in settings.items():
        is_open = names == AUTO and split not in split_of.values()
        if not is_open or (split == "test" and is_human):
            continue
        free = [record for record in records if record["name"] not in split_of]
        chosen = hold_out(free, HELD_OUT * bases_of(records))
        if chosen:
            split_of.update({record["name"]: split for record in chosen})
            share = bases_of(chosen) / bases_of(records)
            lines.append(
                f"{split}: {len(chosen)} of {len(records)} records, {share:.1%} of the bases, "
                f"chosen by a hash of their names: name others by --{split}_chroms"
            )
        elif split == "val" and free:
            tails.append(split)
    parts = {}
    for record in records:
        name = record["name"]
        parts[name] = [(split_of.get(name, "train"), 0, record["length"])]
    for split in tails:
        lines.append(cut_tail(records, parts, split, settings))
    check_training(records, parts)
    warn_of_tested(records, parts, lines)
    return parts, lines


def lines_on_names(split_of, settings):
    """A line for each split that is left open and has chromosomes of DART-Eval's; split_of: {name:
    split} of the records whose names tell.
    """
    lines = []
    for split, names in settings.items():
        held = [name for name, where in split_of.items() if where == split]
        if names == AUTO and held:
            lines.append(
                f"{split}: DART-Eval's chromosomes of the human genome, by name: {listed(held)}"
            )
    return lines


def hold_out(records, goal):
    """Whole records of about `goal` bases, in the order of a hash of their names; [] if there are
    none that come near it.
    """

    def shuffled(record):
        return hashlib.md5(record["name"].encode()).hexdigest()

    chosen = []
    missing = goal
    for record in sorted(records, key=shuffled):
        if record["length"] < 2 * missing:  # brings the sum nearer to the goal
            chosen.append(record)
            missing -= record["length"]
    if missing <= goal / 2 and len(chosen) < len(records):
        return chosen
    rest = [record for record in records if record["length"] >= goal / 2]
    if len(rest) < 2:
        return []
    shortest = min(rest, key=lambda record: (record["length"], record["name"]))
    return [shortest] if shortest["length"] <= goal * MOST / HELD_OUT else []


def cut_tail(records, parts, split, settings):
    """Give the end of the longest record for training to `split`, in parts; a line that says so."""
    free = [record for record in records if parts[record["name"]][0][0] == "train"]
    if not free:
        die(f"--{split}_chroms=tail: no chromosome is left to cut")
    longest = max(free, key=lambda record: (record["length"], record["name"]))
    why = "" if settings[split] == TAIL else ", since no whole record is of a size to hold out"
    kept, *rest = parts[longest["name"]]
    end = kept[2]
    start = end - max(1, int(TAIL_SHARE * longest["length"]))
    parts[longest["name"]] = [("train", 0, start), (split, start, end), *rest]
    return f"{split}: the end of {longest['name']}, from base {start:,} to {end:,}{why}"


def check_training(records, parts):
    """Die if nothing is left to train on, with what to type instead."""
    trained = sum(end - start for some in parts.values() for s, start, end in some if s == "train")
    if trained > 0:
        return
    names = [record["name"] for record in records]
    val = names[-1] if len(names) > 1 else TAIL[0]
    die(
        f"nothing to train on, val and test take all of {listed(names)}: "
        f"type --val_chroms={val} --test_chroms="
    )


def warn_of_tested(records, parts, lines):
    """Add a line if DART-Eval tests on a chromosome that is for training."""
    tested = []
    for record in records:
        chromosome = human_chromosome(record["name"], record["description"])
        for_training = any(split == "train" for split, _, _ in parts[record["name"]])
        if chromosome in DART_EVAL["test"] and for_training:
            tested.append(record["name"])
    if tested:
        lines.append(
            f"warning: {listed(tested)} will be trained on, and DART-Eval tests on it: "
            "leave out --test_chroms to hold it out"
        )
