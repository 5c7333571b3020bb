"""Write a trained model as a folder that Hugging Face's transformers loads.

  python export.py --ckpt=out/best.pt --out=out-export

The folder holds the weights, the model and tokenizer as Python files, and README.md, the model
card: what the checkpoint says of its data, its training and its scores. It needs nothing of this
project. transformers is not needed here, only to load the folder.
"""

import json
import math
import os
import shutil
from pathlib import Path

from config import configure, die, main_dataset
from data.corpus import all_data, was_seen
from model import N
from runtime.checkpoint import load_model

ckpt = "out/ckpt.pt"  # the checkpoint to hand on
out = "out-export"  # the folder to write; an earlier export there is replaced

ROOT = Path(__file__).parent
COPIED = [  # as they are
    ROOT / "model.py",
    ROOT / "huggingface" / "modeling_dna.py",
    ROOT / "huggingface" / "tokenization_dna.py",
]
WRITTEN = [
    "model.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "README.md",
]
FILES = {*WRITTEN, *(path.name for path in COPIED)}


# ---- the folder


def check_place(folder):
    """Die unless the folder is new, empty, or holds an earlier export and nothing else."""
    if not folder.absolute().parent.is_dir():
        die(f"--out={folder}: no such folder {folder.absolute().parent}: make it first")
    if not folder.exists():
        return
    if not folder.is_dir():
        die(f"--out={folder} is a file: name a folder")
    names = {path.name for path in folder.iterdir()}
    foreign = sorted(names - FILES)
    if foreign:
        die(f"--out={folder} holds {foreign[0]}, which is no export's: name another folder")
    if names and "model.py" not in names:  # the file that is written first
        die(f"--out={folder} holds {min(names)} and is no earlier export: name another folder")


def write_folder(folder, model, checkpoint, save):
    """Write the export beside its place, then move it there: it is there whole or not at all.

    save: safetensors' function from {name: tensor} to bytes.
    """
    temporary = Path(f"{folder}.tmp")
    remove_export(temporary)  # of a command that was cut off
    temporary.mkdir()
    for path in COPIED:
        shutil.copyfile(path, temporary / path.name)
    weights = save(named_tensors(model), metadata={"format": "pt"})
    (temporary / "model.safetensors").write_bytes(weights)
    write_json(temporary / "config.json", model_config(checkpoint["model_args"]))
    write_json(temporary / "generation_config.json", {"bos_token_id": N, "use_cache": False})
    write_json(temporary / "tokenizer_config.json", tokenizer_config(model))
    card = model_card(model, checkpoint, folder.absolute().name)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    move_folder(temporary, folder)


def move_folder(new, place):
    """Move a folder to a place where an earlier export may be."""
    aside = Path(f"{place}.old")
    remove_export(aside)
    if place.exists():
        os.replace(place, aside)
    os.replace(new, place)
    remove_export(aside)


def remove_export(folder):
    """Remove a folder if it is there; dies if it holds anything that is no export's."""
    check_place(folder)
    if folder.exists():
        shutil.rmtree(folder)


def write_json(path, content):
    """Write a dict as a JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def named_tensors(model):
    """{name: tensor} under the names that modeling_dna.py gives them: the weights, and the tables
    of the rotary embedding, which transformers cannot compute when it loads a model.
    """
    tensors = {**model.state_dict(), "cos": model.cos, "sin": model.sin}
    return {f"gpt.{name}": tensor.contiguous() for name, tensor in tensors.items()}


def model_config(model_args):
    """What config.json says, from the fields of a GPTConfig."""
    return {
        "model_type": "nanogpt_dna",
        "architectures": ["DNAForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_dna.DNAConfig",
            "AutoModel": "modeling_dna.DNAModel",
            "AutoModelForCausalLM": "modeling_dna.DNAForCausalLM",
        },
        "gpt": model_args,
        "vocab_size": N + 1,
        "bos_token_id": N,
        "use_cache": False,
        "dtype": "float32",
    }


def tokenizer_config(model):
    """What tokenizer_config.json says; the tokens themselves are in tokenization_dna.py."""
    return {
        "tokenizer_class": "DNATokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_dna.DNATokenizer", None]},
        "model_max_length": model.config.block_size,
    }


# ---- the card


def model_card(model, checkpoint, name):
    """README.md: the text of all chapters. name: of the folder."""
    chapters = [
        FRONT_MATTER,
        f"# {name}",
        about_model(model),
        HOW_TO_LOAD.format(name=name),
    ]
    if checkpoint["data"]:
        chapters += ["## What it was trained on", bullets(about_data(checkpoint))]
    chapters += ["## For how long", bullets(about_training(checkpoint))]
    scores = about_scores(checkpoint)
    if scores:
        chapters += ["## What it scored", scores]
    chapters += ["## What it is not", WHAT_IT_IS_NOT]
    return "\n\n".join(chapters) + "\n"


FRONT_MATTER = """---
library_name: transformers
pipeline_tag: text-generation
tags: [dna, genomics]
---"""

HOW_TO_LOAD = """    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("{name}", trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained("{name}", trust_remote_code=True)

`trust_remote_code` runs the Python files of this folder: read them first. `generate` works, for
rows of equal length. `AutoModel` gives the states. The weights are float32; for half precision use
`torch.autocast`."""

WHAT_IT_IS_NOT = """The model predicts the next base. How likely it finds a sequence is no score of
function: a base may be hard to predict and matter, or easy and not. Repeats are easy for it because
they can be copied. It has not been tested for any medical use."""


def bullets(lines):
    """A list in Markdown; a line that is indented is an item already."""
    return "\n".join(line if line.startswith("  - ") else f"- {line}" for line in lines)


def about_model(model):
    """A paragraph on the model's kind and size."""
    weights = sum(p.numel() for p in model.parameters())
    config = model.config
    return (
        f"A causal GPT that reads DNA base by base and predicts the next one. {weights:,} weights, "
        f"{config.n_layer} layers of width {config.n_embd}, a context of {config.block_size:,} "
        "tokens, the start symbol included. Tokens: A 0, C 1, G 2, T 3, N 4."
    )


def about_data(checkpoint):
    """Lines on each genome that the model ever read, the main one of the last run first."""
    data = checkpoint["data"]
    genomes = list(all_data(data))
    lines = []
    for about in genomes:
        lines += about_genome(about, genomes)
    if data.get("regions"):
        lines.append(f"A part of training read only the regions of a BED, md5 {data['regions']}.")
    return lines


def about_genome(about, genomes):
    """Lines on one genome: its name, and below it where it came from, and which chromosomes were
    for what.

    genomes: all that the model was trained on, since one may train on what another holds out.
    """
    lines = [Path(about.get("dataset") or "a genome").name]
    if about.get("fingerprint"):
        lines[0] += f" (fingerprint of the prepared genome: {about['fingerprint']})"
    for source in about.get("source") or []:
        line = f"  - from {source.get('url') or source.get('file')}"
        if source.get("md5"):
            line += f", md5 {source['md5']}"
        lines.append(line)
    trained = about.get("train", [])
    if trained:
        lines.append(f"  - trained on {', '.join(trained)}")
    scored = unseen(about, "val", genomes, ["train"])
    if scored:
        lines.append(f"  - scored, and chosen among checkpoints, on {', '.join(scored)}")
    never = unseen(about, "test", genomes, ["train", "val"])
    if never:
        lines.append(f"  - never saw {', '.join(never)}")
    return lines


def unseen(about, split, genomes, splits):
    """Names of a genome's chromosomes in a split that no genome has in any of the splits."""
    return [part for part in about.get(split, []) if not was_seen(part, about, genomes, splits)]


def about_training(checkpoint):
    """Lines on the length of the last run."""
    config = checkpoint["config"]
    lines = [f"{checkpoint['step']:,} steps."]
    if "bases" in checkpoint:
        lines.append(f"{checkpoint['bases']:,} bases read, N not counted.")
    if config.get("init_from", "scratch") not in ("scratch", "auto", "resume"):
        lines.append("It began from another checkpoint, whose steps are not among these.")
    if checkpoint["data"].get("before"):
        lines.append("It went on from a model that was trained before, on what is named above.")
    return lines


def about_scores(checkpoint):
    """A table of the last validation; "" if there was none."""
    if not checkpoint.get("val"):
        return ""
    dataset = Path(main_dataset(checkpoint)).name
    rows = [dataset_scores(dataset, checkpoint["val"])]
    others = checkpoint["data"].get("others", [])
    for about, val in zip(others, checkpoint.get("other_vals", [])):
        rows.append(dataset_scores(Path(about["dataset"]).name, val))
    when = ""
    if checkpoint.get("evaluated") is not None:
        when = f", after step {checkpoint['evaluated']:,}"
    return (
        f"Bits per base on validation chromosomes{when}. Knowing nothing costs 2 bits.\n\n"
        "| genome | all | repeats | unique | regulatory elements |\n"
        "|---|---|---|---|---|\n" + "\n".join(rows)
    )


def dataset_scores(name, val):
    """A row of the table of scores; a dash where there was nothing to score."""
    cells = [name]
    for key in ("all", "repeats", "unique", "elements"):
        bits = val.get(key, math.nan)
        cells.append("-" if math.isnan(bits) else f"{bits:.4f}")
    return f"| {' | '.join(cells)} |"


# ---- the command


def main():
    if not out:
        die("--out is empty: name the folder to write")
    try:
        from safetensors.torch import save
    except ImportError:
        die("this needs safetensors: pip install safetensors")
    folder = Path(out)
    check_place(folder)
    model, checkpoint = load_model(ckpt)
    write_folder(folder, model, checkpoint, save)
    print(f"{folder}: a model of step {checkpoint['step']}; read {folder / 'README.md'} first")


if __name__ == "__main__":
    configure(globals())
    main()
