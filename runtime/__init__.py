"""What a run needs around the model: processes, devices, checkpoints, its folder, what it says."""
