"""Paired and unpaired manifests: balance, disjoint hosts, and dependence on nothing else."""

import numpy as np
import pytest

from lensjax.data.manifest import manifest_mask
from lensjax.schema import ExitCode, LensjaxError


def make_table(n_hosts, rows_per_host=1, lookalikes=0, strata=4, seed=0):
    """Hosts with as many pairs each (a number, or drawn from a tuple), and look-alikes."""
    rng = np.random.default_rng(seed)
    rows = []
    for h in range(n_hosts):
        psf, depth = rng.integers(strata, size=2)
        count = rows_per_host if np.isscalar(rows_per_host) else rng.choice(rows_per_host)
        for _ in range(count):
            rows += [(f"h{h:05d}", 1, "", psf, depth), (f"h{h:05d}", 0, "control", psf, depth)]
    for k in range(lookalikes):
        kind = ("ring", "spiral")[k % 2]
        rows.append((f"look{k}", 0, kind, *rng.integers(strata, size=2)))
    columns = zip(*rows, strict=True)
    names = ("lrg_id", "label", "negative_kind", "psf_bin", "depth_bin")
    return {name: np.array(column) for name, column in zip(names, columns, strict=True)}


def test_paired_is_everything():
    assert manifest_mask(make_table(20, 2, 5), "paired", 42).all()


CASES = [
    (1000, 1, 0, 4),
    (1000, 1, 250, 4),
    (300, (1, 2, 3, 8), 60, 2),
    (20, 8, 0, 1),
    (20, 1, 3, 4),
]


@pytest.mark.parametrize(("hosts", "per_host", "lookalikes", "strata"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_unpaired_is_disjoint_whole_and_balanced(hosts, per_host, lookalikes, strata, seed):
    table = make_table(hosts, per_host, lookalikes, strata, seed)
    mask = manifest_mask(table, "unpaired", seed)
    label, control = table["label"], table["negative_kind"] == "control"
    positive, negative = (set(table["lrg_id"][mask & (label == one)]) for one in (1, 0))
    assert positive and negative and not positive & negative
    assert mask[(label == 0) & ~control].all()
    for host in set(table["lrg_id"]):  # a host is wholly one or the other, and no host is lost
        mine = table["lrg_id"] == host
        assert set(label[mask & mine]) == ({1} if host in positive else {0})
        assert mask[mine].sum() == (label[mine] == (host in positive)).sum()
    largest = max(np.unique(table["lrg_id"][label == 1], return_counts=True)[1])
    stratum = table["psf_bin"] * 10 + table["depth_bin"]
    for this in np.unique(stratum):
        inside = mask & (stratum == this)
        difference = (label[inside] == 1).sum() - (label[inside] == 0).sum()
        assert abs(difference) <= max(largest, -difference if only_lookalikes(table, inside) else 0)
    assert abs((label[mask] == 1).sum() - (label[mask] == 0).sum()) <= 2 * largest


def only_lookalikes(table, inside):
    """True where no control is left to exchange: the look-alikes alone outnumber the pairs."""
    return not (table["negative_kind"][inside] == "control").any()


def test_many_strata_of_one_host_do_not_lean_to_one_side():
    table = make_table(16, 1, 0, 1)
    host_number = np.array([int(name[1:]) for name in table["lrg_id"]])
    table["psf_bin"], table["depth_bin"] = host_number % 4, host_number // 4
    mask = manifest_mask(table, "unpaired", 42)
    assert (table["label"][mask] == 1).sum() == 8


def test_a_host_with_a_lookalike_is_negative():
    table = make_table(30, 2, 0, 1)
    table["lrg_id"] = np.append(table["lrg_id"], "h00003")
    for name, value in (("label", 0), ("negative_kind", "ring"), ("psf_bin", 0), ("depth_bin", 0)):
        table[name] = np.append(table[name], value)
    for seed in range(10):
        mask = manifest_mask(table, "unpaired", seed)
        assert set(table["label"][mask & (table["lrg_id"] == "h00003")]) == {0}


def test_row_order_does_not_matter_and_the_seed_does():
    table = make_table(200, (1, 2), 30)
    mask = manifest_mask(table, "unpaired", 42)
    mixed = np.random.default_rng(1).permutation(len(mask))
    again = manifest_mask({k: x[mixed] for k, x in table.items()}, "unpaired", 42)
    np.testing.assert_array_equal(again, mask[mixed])
    assert not np.array_equal(mask, manifest_mask(table, "unpaired", 43))


def test_the_draw_is_the_same_for_ever():
    mask = manifest_mask(make_table(12, 1, 0, 1), "unpaired", 42)
    assert "".join(map(str, mask[::2].astype(int))) == "000110111010"


def test_control_paired_rows_share_hosts():
    """What the unpaired manifest prevents: the same hosts in both classes."""
    table = make_table(50)
    mask = manifest_mask(table, "paired", 42)
    positive, negative = (set(table["lrg_id"][mask & (table["label"] == one)]) for one in (1, 0))
    assert positive == negative


def test_unknown_pairing():
    with pytest.raises(LensjaxError, match="Did you mean unpaired") as caught:
        manifest_mask(make_table(3), "unpared", 1)
    assert caught.value.code == ExitCode.USAGE
