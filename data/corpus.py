"""The genomes that a run reads: opened, weighed against each other, described for its checkpoint,
and what a checkpoint says of them read again.
"""

import math
import re

from config import die, find_dataset
from data.genome import Genome


def open_genomes(names):
    """The prepared genomes of these names, the main one first; dies if one has nothing to train on
    or to validate on.
    """
    genomes = [Genome(find_dataset(name)) for name in names]
    for genome in genomes:
        for split in ("train", "val"):
            if len(genome.bases(split)) and not len(genome.stretches(split)):
                die(f"{genome.folder} holds N alone for {split}: is its FASTA a masked one?")
            if not len(genome.stretches(split)):
                die(
                    f"{genome.folder} has no {split} bases: prepare it with --val_chroms naming "
                    "some of its chromosomes, not all, or --val_chroms=tail, into another folder"
                )
    if len({genome.fingerprint for genome in genomes}) < len(genomes):
        die(f"dataset = {','.join(names)}: two of them are the same genome: name it once")
    return genomes


def read_shares(text, sizes):
    """The share of each genome in the windows of a run, by the numbers of a text such as "3,1";
    without one, by their sizes, in windows. Dies unless the text has a number above 0 for each.
    """
    weights = sizes
    if text:
        try:
            weights = [float(word) for word in text.split(",")]
        except ValueError:
            weights = []
        if len(sizes) == 1:
            die("dataset_shares is for several genomes: leave it out with one")
        if len(weights) != len(sizes) or not all(0 < weight < math.inf for weight in weights):
            die(f"dataset_shares = {text!r}: give {len(sizes)} numbers above 0 as in 3,1")
    return [weight / sum(weights) for weight in weights]


def held_out_here_trained_on_there(genomes):
    """A line on each chromosome that one genome holds out and another one trains on; none if all is
    well. Chromosomes are the same if their md5 is.
    """
    trained = {}  # md5 -> the genomes that train on it, or on a part of it
    for genome in genomes:
        for row in genome.meta["splits"]["train"]["chroms"]:
            trained.setdefault(row["md5"], []).append(genome)
    lines = []
    for genome in genomes:
        for split in ("val", "test"):
            for row in genome.meta["splits"][split]["chroms"]:
                for other in trained.get(row["md5"], []):
                    if other is not genome:
                        lines.append(
                            f"warning: {row['name']} is held out by {genome.folder} and trained on "
                            f"as a part of {other.folder}"
                        )
    return lines


def describe_data(genome, name):
    """What a checkpoint says of a genome: its source, how many of its bases are soft-masked, which
    chromosomes were for what, and their md5. Of a chromosome that is cut between splits, each has
    its part: chr1:0-900.
    """
    about = dict(dataset=name, fingerprint=genome.fingerprint, repeats=genome.repeat_counts())
    about["source"] = genome.meta.get("source")
    about["md5"] = {}
    for split, rows in genome.meta["splits"].items():
        about[split] = [genome.part_name(row) for row in rows["chroms"]]
        about["md5"].update({genome.part_name(row): row["md5"] for row in rows["chroms"]})
    return about


def read_part(part):
    """(name, start, end) of a part such as chr1 or chr2:0-900."""
    match = re.fullmatch(r"(.+):(\d+)-(\d+)", part)
    if match is None:
        return part, 0, math.inf
    return match[1], int(match[2]), int(match[3])


def all_data(data):
    """What a checkpoint says of each genome that its model was ever trained on; data: all that it
    says of its data.
    """
    for run in (data, *data.get("before", ())):
        yield run
        yield from run.get("others", ())


def was_seen(part, about, genomes, splits):
    """Whether any of the genomes has a part of a chromosome in one of these splits.

    Chromosomes are the same if their md5 is or, where a checkpoint has none, if their name is.
    """
    name, start, end = read_part(part)
    for other in genomes:
        for other_part in parts_of(other, splits):
            other_name, other_start, other_end = read_part(other_part)
            same = name == other_name
            if "md5" in about and "md5" in other:
                same = about["md5"][part] == other["md5"][other_part]
            if same and start < other_end and other_start < end:
                return True
    return False


def parts_of(about, splits):
    """Names of the chromosomes, or parts of them, that a genome has in these splits."""
    return [part for split in splits for part in about.get(split, [])]


def validated_but_seen(data):
    """A line on each chromosome that a run validates on and an earlier run of its model trained on;
    data: what a checkpoint says of its data.
    """
    earlier = [about for run in data.get("before", ()) for about in all_data(run)]
    lines = []
    for about in (data, *data.get("others", ())):
        for part in about["val"]:
            if was_seen(part, about, earlier, ["train"]):
                lines.append(f"warning: {part} validates here, and this model has trained on it")
    return lines
