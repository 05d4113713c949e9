"""Time and memory of reading many files of the paper's format: simulated content, real structure.

    python benchmarks/readers.py --files 10000

Each file has 250 instances and, as the paper's runs had, 0 to 511 demonstrations.
"""

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from write_reader_examples import context_scaling_file

SHOTS = (0, 1, 3, 7, 15, 31, 63, 127, 255, 511)
INSTANCES = 250


def write(folder, n_files):
    """Write the files: 10 numbers of shots, 20 data sets, as many checkpoints as it takes."""
    rng = random.Random(0)
    written = 0
    for k in range(n_files):
        shots = SHOTS[k % 10]
        dataset, model = f"set-{k // 10 % 20}", f"simulated-{k // 200}"
        name, content = context_scaling_file(rng, dataset, model, shots, 1, INSTANCES)
        (folder / dataset).mkdir(exist_ok=True)
        written += (folder / dataset / name).write_text(json.dumps(content, indent=4))
    return written


def peak_mib():
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="write here, and read what is there already")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    try:
        if not any(folder.iterdir()):
            written = write(folder, arguments.files)
            print(f"{arguments.files} files, {written / 2**20:.0f} MiB written")
        from bayes_ctxlaw import as_observations
        from bayes_ctxlaw.readers import read_context_scaling

        before = peak_mib()
        wall, cpu = time.perf_counter(), time.process_time()
        llms = {
            f"simulated-{i}": {"compute": 1e22 * (i + 1), "context_window": 8192}
            for i in range((arguments.files + 199) // 200)
        }
        reading = read_context_scaling(folder, llms=llms)
        obs = as_observations(reading)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert obs.sizes["obs_id"] == arguments.files
        assert (obs["n_items"] == INSTANCES).all()
        print(f"{obs.sizes['obs_id']} observations of {int(obs['n_items'].sum())} items")
        print(f"{wall:.1f} s wall, {cpu:.1f} s CPU")
        print(f"peak memory {peak_mib():.0f} MiB, of which {before:.0f} before reading")
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
