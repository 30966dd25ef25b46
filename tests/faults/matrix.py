"""The ids of the fault matrix (89), what each injects, what must then happen, and its tier.

Not the tests: those carry the marks `proves(id)` (the guard, with its exact exit code and cause)
and `harm(id)` (the control: the guard is off and the harm is seen). An id is proven where both are
there and all of them passed, none skipped. benchmarks/fault_matrix.py prints the table.

    >>> MATRIX["D1"].expected
    'E(10)'
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

PROVEN, NOT_PROVEN, FAILED = "proven", "not proven", "failed"


class Entry(NamedTuple):
    """One line of the matrix; E(code) ends with that exit code, R recovers without help. Tier P is
    in every run of the suite, N on demand, G on a GPU."""

    what: str
    expected: str
    tier: str


MATRIX: dict[str, Entry] = {
    "D1": Entry("NaN in 1 pixel; or set aside within a budget, counted", "E(10)", "P"),
    "D2": Entry("+Inf, -Inf, the 1e30 sentinel, the -99 fill", "E(10)", "P"),
    "D3": Entry("a band is missing", "E(10)", "P"),
    "D4": Entry("bands in another order", "E(10)", "P"),
    "D5": Entry("shape 63 x 64; int16; float64", "E(10)", "P"),
    "D6": Entry("a constant stamp: zeros, or not", "E(10)", "P"),
    "D7": Entry("one class only, in val and in train", "E(10)", "P"),
    "D8": Entry("stamp and control exchanged in every row", "E(10)", "P"),
    "D9": Entry("labels flipped on 5 % of the rows", "E(12)", "P"),
    "D10": Entry("1 brick moved from test to train", "E(11)", "P"),
    "D11": Entry("one stamp in train and test: a copy, turned, with noise", "E(11)", "P"),
    "D12": Entry("train and test exchanged", "E(11)", "P"),
    "D13": Entry("Parquet truncated to 0, 50, 99 %", "E(10)", "P"),
    "D14": Entry("1 bit flipped in label, brick, ra or npz: 0 of 1,000 silent", "E(10)", "P"),
    "D15": Entry("0 rows; an empty directory; stray files", "E(10)", "P"),
    "D16": Entry("row ids repeated across shards", "E(10)", "P"),
    "D17": Entry("shard missing, or one too many", "E(12)", "P"),
    "D18": Entry("10^6 rows: memory under 1 GB", "completes", "N"),
    "D19": Entry("file replaced during training", "E(10)", "N"),
    "D20": Entry("smoke run with a private fake loader: the suite must fail", "fails", "P"),
    "D21": Entry("FITS: big-endian, BZERO, masked NaN, missing END", "E(10) or exact", "P"),
    "C1": Entry("misspelt flag or key, int for float, duplicate key", "E(2)", "P"),
    "C2": Entry("config changed between resumes", "E(12)", "P"),
    "C3": Entry("harmless change between resumes", "R", "P"),
    "C4": Entry("code changed between resumes", "E(12)", "P"),
    "C5": Entry("dependency changed between resumes", "E(12)", "P"),
    "C6": Entry("batch size not divisible by devices", "E(2)", "P"),
    "C7": Entry("protocol threshold edited after the start", "E(12)", "P"),
    "C8": Entry("--fresh on a workdir with good checkpoints", "set aside; E(13)", "P"),
    "P1": Entry("kill -9 at random times", "R", "P/N"),
    "P2": Entry("kill -9 ten times in one run", "R", "P"),
    "P3": Entry("second trainer on one workdir", "E(13)", "P"),
    "P4": Entry("8 trainers at the same instant", "1 wins", "P"),
    "P5": Entry("stale lock; pid reused", "R", "P"),
    "P6": Entry("lock of another host or pid namespace", "E(13)", "P"),
    "P7": Entry("SIGTERM at a random step", "75, then R", "P"),
    "P8": Entry("SIGTERM in eval, in save, twice; SIGUSR1; SIGINT", "75, then R", "P"),
    "P9": Entry("SIGSTOP 60 s, then SIGCONT", "continues", "N"),
    "P10": Entry("parent shell dies; stdout pipe closed", "continues", "P"),
    "P11": Entry("gate run while training", "E(22) or the set", "P"),
    "P12": Entry("clock stepped by a day", "continues", "P"),
    "P13": Entry("workdir renamed or deleted while training", "E(16)", "N"),
    "P14": Entry("data worker killed", "E(16) or R", "P"),
    "K1": Entry("1 bit flipped in the newest step", "R", "P/N"),
    "K2": Entry("newest data or manifest truncated, zeroed, deleted", "R", "P"),
    "K3": Entry("all kept steps corrupt", "E(14)", "P"),
    "K4": Entry("leftover temporary checkpoint", "ignored", "P"),
    "K5": Entry("disk full during save", "R or E(16)", "P"),
    "K6": Entry("asynchronous save fails", "told at once", "P"),
    "K7": Entry("another device count on resume", "R or E(12)", "P"),
    "K8": Entry("parameter tree differs from the code", "E(12)", "P"),
    "K9": Entry("NaN state offered to save", "refused", "P"),
    "K10": Entry("checkpoint of an older version", "R or E(12)", "P"),
    "K11": Entry("power loss after the rename", "as K1", "N"),
    "K12": Entry("data position missing from a checkpoint", "E(14)", "P"),
    "K13": Entry("resume from every step of 40", "R", "N"),
    "N1": Entry("NaN loss; NaN in one gradient leaf; Inf", "E(15)", "P"),
    "N2": Entry("float16 overflow", "E(10) or E(15)", "P"),
    "N3": Entry("divergence without NaN", "E(15)", "N"),
    "N4": Entry("same seed twice", "bitwise", "P/G"),
    "N5": Entry("dropout randomness after resume", "R", "P"),
    "U1": Entry("read-only workdir", "E(16)", "P"),
    "U2": Entry("workdir: symlink, dangling symlink, file", "works or E(2)", "P"),
    "U3": Entry("odd paths; LANG=C", "works", "P"),
    "U4": Entry("2 GB of address space", "E(16)", "P"),
    "U5": Entry("64 descriptors, 500 shards", "works or E(16)", "P"),
    "U6": Entry("no inodes left", "as K5", "N"),
    "U7": Entry("10^5 tiny steps", "flat", "N"),
    "S1": Entry("npz bomb, 1 MB to 1 GiB: < 0.1 s, < 50 MB", "E(17)", "P"),
    "S2": Entry("npy header: 10^12 elements, overflow, negative side", "E(17)", "P"),
    "S3": Entry("pickles in npz, Parquet metadata, config", "E(17)", "P"),
    "S4": Entry("zip: paths, duplicate, encrypted, link, sizes, overlap", "E(17)", "P"),
    "S5": Entry("paths out of the data root", "E(17)", "P"),
    "S6": Entry("corrupt evaluation arrays", "E(22)", "P"),
    "S7": Entry("tampered protocol or gates.json", "E(12) or E(22)", "P"),
    "S8": Entry("terminal escapes in names, ids, headers", "escaped", "P"),
    "S9": Entry("10^5 mutations of files (10^3 in P)", "documented exits", "N/P"),
    "S10": Entry("dependency with a known hole", "E(12)", "N"),
    "T1": Entry("perfect scores", "20", "P"),
    "T2": Entry("planted shortcut of AUC 0.70, 200 seeds", ">= 95 % FAIL", "N"),
    "T3": Entry("no shortcut, 200 seeds", ">= 95 % PASS", "N"),
    "T4": Entry("20 rows a class", "21", "P"),
    "T5": Entry("correlated bricks: coverage", "93-97 %", "N"),
    "T6": Entry("ties in the scores", "exact", "P"),
    "T7": Entry("permuted labels through the whole gate", "FAIL, p uniform", "N"),
    "T8": Entry("best of 5 seeds submitted as one", "E(22)", "P"),
    "T9": Entry("scores of the training split", "E(22)", "P"),
    "T10": Entry("metamorphic changes of the scores", "same", "P"),
    "T11": Entry("short run asked for a verdict", "20 or 21", "P"),
}


class Seen(NamedTuple):
    """One test that ran: the mark that it carries, the id, and how it ended ('passed', 'skipped' or
    'failed')."""

    mark: str
    id: str
    outcome: str


def verdict(name: str, seen: Iterable[Seen]) -> str:
    """What the tests of id `name` among `seen` show of it. A skipped test proves nothing, and a
    guard without its control does not either."""
    mine = [one for one in seen if one.id == name]
    if any(one.outcome == "failed" for one in mine):
        return FAILED
    both = {one.mark for one in mine} >= {"proves", "harm"}
    return PROVEN if both and all(one.outcome == "passed" for one in mine) else NOT_PROVEN
