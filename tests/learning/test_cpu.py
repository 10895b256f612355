from __future__ import annotations

import os
import subprocess
import sys

from bees.learning.cpu import cpu_device

PROGRAM = """
import os, time
import jax
from bees.learning.cpu import cpu_device
os.environ["PJRT_NPROC"] = "7"
device = cpu_device()
square = jax.device_put(jax.numpy.ones((1500, 1500)), device)
product = jax.jit(lambda a: a @ a)
product(square).block_until_ready()
own, all_threads = time.thread_time(), time.process_time()
for _ in range(5):
    product(square).block_until_ready()
print(os.environ["PJRT_NPROC"], (time.thread_time() - own) / (time.process_time() - all_threads))
"""


def test_programs_run_on_the_cpu():
    assert cpu_device().platform == "cpu"
    assert cpu_device() is cpu_device()


def test_the_environment_is_left_as_it_was():
    before = dict(os.environ)
    cpu_device.__wrapped__()
    assert dict(os.environ) == before


def test_a_program_runs_on_the_thread_that_calls_it():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    variable, own_share = done.stdout.split()
    assert variable == "7"
    assert float(own_share) > 0.9
