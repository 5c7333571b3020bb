"""Write the toy genome: toy.fa.gz, ccre.bed and oracle.json. What it is made of: data/toy/__init__.py.

  python -m data.toy
"""
import time

from config import configure
from data.toy import write

out = "data/toy"  # the folder to write
seed = 1          # another seed, another genome: the demo's margins hold on it too

configure(globals())

start = time.time()
val = write(out, seed)["val"]
print(f"wrote toy.fa.gz, ccre.bed and oracle.json to {out} in {time.time() - start:.1f} s; oracle on val: "
      + ", ".join(f"{key} {val[key]:.3f}" for key in ("all", "repeats", "unique")) + " bits per base")
