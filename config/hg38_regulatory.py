# hg38_small.py carried on where regulation is: half of the windows on ENCODE's regulatory elements
# and 400 bases to either side of them, half anywhere, at an eighth of the rate. It starts from
# out/ckpt.pt and writes beside it.
# Two 24 GB cards: about 35 minutes after hg38_small.py (estimate), a tenth of its bases.
# Not run at this size. In small (4 layers x 192, a list of 529 elements, two seeds), against as
# much of everything: held-out promoters cost 0.006 to 0.007 bit less, all bases 0.000 to 0.002 more
# (experiments/README.md, "Where to train").
init_from = "out/ckpt.pt"
out_dir = "out-regulatory"
dataset = "hg38"
regions = "auto"
region_share = 0.5
region_from = 0.0
flank = 400
block_size = 1024
n_layer = 12
n_head = 6
n_embd = 768
batch_tokens = 2**20
batch_size = 32
max_iters = 400
learning_rate = 0.0025
cooldown = 0.9
eval_interval = 100
