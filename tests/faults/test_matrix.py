"""What the matrix counts as proven, and that nothing else is."""

from __future__ import annotations

import pytest

from benchmarks.fault_matrix import lines, read, selection
from tests.faults.matrix import FAILED, MATRIX, NOT_PROVEN, PROVEN, Seen, verdict

GUARD, CONTROL = Seen("proves", "D1", "passed"), Seen("harm", "D1", "passed")


def test_there_are_89_ids():
    numbers = {"D": 21, "C": 8, "P": 14, "K": 13, "N": 5, "U": 7, "S": 10, "T": 11}
    assert list(MATRIX) == [f"{kind}{k + 1}" for kind, n in numbers.items() for k in range(n)]
    assert len(MATRIX) == 89


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([GUARD, CONTROL], PROVEN),
        ([GUARD], NOT_PROVEN),
        ([CONTROL], NOT_PROVEN),
        ([], NOT_PROVEN),
        ([GUARD, CONTROL, GUARD._replace(outcome="skipped")], NOT_PROVEN),
        ([GUARD, CONTROL, CONTROL._replace(outcome="failed")], FAILED),
        ([GUARD, CONTROL, GUARD._replace(outcome="failed")], FAILED),
        ([GUARD, CONTROL, Seen("proves", "D2", "failed")], PROVEN),
    ],
)
def test_proven_is_what_has_a_guard_and_a_control_that_passed(seen, expected):
    assert verdict("D1", seen) == expected


REPORT = """<testsuites><testsuite>
<testcase name="a"><properties><property name="proves" value="D1"/></properties></testcase>
<testcase name="b"><properties><property name="harm" value="D1"/></properties><skipped/></testcase>
<testcase name="c"><properties><property name="harm" value="D2"/></properties><failure/></testcase>
<testcase name="d"><properties><property name="proves" value="D2"/></properties><error/></testcase>
<testcase name="e"/>
</testsuite></testsuites>"""


def test_a_report_is_read_as_it_is(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    seen = list(read(tmp_path / "report.xml"))
    assert [one.outcome for one in seen] == ["passed", "skipped", "failed", "failed"]
    table = list(lines(seen))
    assert len(table) == 2 + 89
    assert table[2].endswith("| E(10) | 1 + 1 | not proven |")
    assert table[3].endswith("| E(10) | 1 + 1 | failed |")


def test_what_is_left_out_is_what_was_not_asked_for():
    assert selection(quick=True, nightly=False, gpu=False) == (
        "(proves or harm) and not faults and not nightly and not gpu"
    )
    assert selection(quick=False, nightly=True, gpu=True) == "(proves or harm)"
