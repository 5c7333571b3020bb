# The flagship: 85M parameters in matrices, 1,024 bases of context, two passes of hg38's training
# chromosomes (4.3 billion bases).
# Two 24 GB cards such as RTX 4090s: about 6 hours; one: 12 (estimates).
# One H200: 2 hours (estimate). The model before the stem held 16.6 GB there and read 585,000 bases
# a second (experiments/LOG.md).
# Loss: not measured at this length. After 100 steps on 17 million bases of hg38 the model before
# the stem had 1.76 bits per base on a piece of chr10; weak extrapolations say 1.69 to 1.75 after a
# pass (experiments/README.md).
out_dir = "out"
dataset = "hg38"
block_size = 1024
n_layer = 12
n_head = 6
n_embd = 768
batch_tokens = 2**20
batch_size = 32  # windows of 1,024 on each card at a time
max_iters = 4100
eval_interval = 100
