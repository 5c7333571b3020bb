"""What the scripts share that is not about DNA: devices, processes, checkpoint files, the folder of
a run.
"""
