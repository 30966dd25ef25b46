"""What a run owns on disk: its directory and lock, checkpoints, provenance, heartbeat and logs.

Effects live here (files, signals, clocks), and what is computed does not. Only `checkpoints`
imports jax and orbax, so that the lock can be asked for, and refused, before either is loaded.
"""
