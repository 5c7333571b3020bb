# hg38_small.py carried on where regulation is: half of the windows on ENCODE's regulatory elements
# and their flanks, half anywhere. It starts from out/ckpt.pt and writes elsewhere.
# Two 24 GB cards: about 35 minutes after hg38_small.py (estimate), at most a tenth of its bases.
# Not run at this size. What was measured in small, with another list of elements and shorter
# windows: experiments/README.md, "Where to train".
init_from = "out/ckpt.pt"
out_dir = "out-regulatory"
dataset = "hg38"
regions = "auto"
region_share = 0.5
region_from = 0.0
region_classes = False  # each element as often, as in what was measured
flank = 336  # an element of 350 bases and its flanks fit into one window
seed = 7  # other windows than hg38_small.py has begun with
block_size = 1024
n_layer = 12
n_head = 6
n_embd = 768
batch_tokens = 2**20
batch_size = 32
max_iters = 400
learning_rate = 0.0025  # Muon: an eighth of hg38_small.py's; AdamW's rates are as they were
cooldown = 0.9
eval_interval = 100
best_by = "elements_unique"
