"""A progress bar for what may take long: it shows after a second, and says little to a log file."""

import sys
from functools import partial

from tqdm import tqdm

SECONDS_BETWEEN = 0.1 if sys.stderr.isatty() else 10

bar = partial(tqdm, leave=False, delay=1, mininterval=SECONDS_BETWEEN)
