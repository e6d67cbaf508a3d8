"""One thread for every test: several on few cores wait for one another, and sums in another order are other numbers."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
