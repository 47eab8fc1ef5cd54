"""service.bulk.budget"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.rate_control import Metric, Price, RateDistortion, allocate
from service.bulk.budget import Seen, look, parts_table, shares
from service.bulk.journal import Journal, keys_of
from service.bulk.rows import MeasuredRow, sources_of
from tests.service.bulk.test_rows import MEASURED


def measured(number: int) -> MeasuredRow:
    """Like a photograph's row."""
    random = np.random.default_rng(number)
    sizes = np.rint(random.uniform(500, 3000) * 2.0 ** np.arange(7)).astype(int)
    mse = 0.01 * random.lognormal(0, 1) * (sizes / sizes[0]) ** -1.2
    ms_ssim = 1 - 0.2 * random.lognormal(0, 0.3) * (sizes / sizes[0]) ** -0.9
    return replace(
        MEASURED,
        path=f"{number}.png",
        width=100 + number,
        height=100,
        sizes=tuple(sizes.tolist()),
        mse=tuple(mse.tolist()),
        ms_ssim=tuple(ms_ssim.tolist()),
        key=number.to_bytes(16, "big"),
    )


@pytest.mark.parametrize("metric", ["psnr", "ms-ssim"])
def test_shares_of_a_journal_are_those_of_allocate(tmp_path: Path, metric: Metric) -> None:
    output = str(tmp_path)
    journal = Journal(output, MeasuredRow)
    rows = [measured(number) for number in range(40)]
    for start in range(0, 40, 9):
        asyncio.run(journal.add(f"b{start}", rows[start : start + 9]))
    wanted = rows[:35]
    selected = [(name, places) for name, _, places in journal.select(keys_of([row.key for row in wanted]))]
    tables = [parts_table(selected[:2]), parts_table(selected[2:])]

    first = Seen.of(look(table, output, metric, None) for table in tables)
    assert (first.pictures, first.pixels) == (35, sum(row.pixels for row in wanted))
    budget = first.histogram.smallest * 4
    inside, _ = first.histogram.runs_out(budget - first.histogram.smallest)
    second = Seen.of((look(table, output, metric, inside) for table in tables), inside)
    price = Price.find(budget, first.histogram, second.histogram)
    sources = [source for table in tables for source in sources_of(shares(table, output, metric, price))]

    given = {source.path: source.max_bytes or 0 for source in sources}
    assert budget - 35 < sum(given.values()) <= budget
    curves = [RateDistortion.of(row.measured, metric, row.pixels) for row in wanted]
    exact = allocate(curves, budget).budgets
    ours = sum(curve(given[row.path]) for curve, row in zip(curves, wanted, strict=True))
    best = sum(curve(size) for curve, size in zip(curves, exact, strict=True))
    assert best <= ours * (1 + 1e-12)
    assert ours <= best * (1 + 1e-4)
