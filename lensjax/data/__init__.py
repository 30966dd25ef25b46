"""The data room: from files or the simulator to validated, prepared, ordered stamps.

Importing it imports numpy alone; pyarrow, fsspec, jax and TensorFlow are imported by the one
module that needs each.
"""
