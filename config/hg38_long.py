# hg38_small.py with 4,096 bases of context: two passes of hg38's training chromosomes (4.3 billion
# bases).
# Two 24 GB cards such as RTX 4090s: about 9.5 hours and 15 GB each (estimates).
# Loss: not measured.
out_dir = "out-long"
dataset = "hg38"
block_size = 4096
n_layer = 12
n_head = 6
n_embd = 768
batch_tokens = 2**20
batch_size = 8
max_iters = 4100
eval_interval = 100
