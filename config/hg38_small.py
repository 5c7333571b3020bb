# The flagship: 85M parameters in matrices, 1,024 bases of context, two passes of hg38's training chromosomes (4.3 billion bases).
# Two 24 GB cards such as RTX 4090s: about 5 hours and 17 GB each; one: about 10 hours (estimates). Loss at scale is not yet measured: a weak
# prediction from small runs says 1.77 bits per base on a piece of chr10 (EXPERIMENTS.md, "Loss over size and bases").
out_dir = "out"
dataset = "hg38"
block_size = 1024
n_layer = 12
n_head = 6
n_embd = 768
batch_tokens = 2**20
batch_size = 32         # windows of 1,024 on each card at a time
max_iters = 4100
eval_interval = 100
