"""Rows without repetition are the rows of the table that they stand for, whatever is asked of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from hybridsplit.scenarios.contracts.option_rows import OptionRows
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.instances import random_instance

COLUMNS = ("mode", "cut", "seconds", "fits")


@st.composite
def rows(draw: st.DrawFn) -> OptionRows:
    """Kinds of rows with repeats among them, of clients in any order."""
    number = draw(st.integers(1, 6))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=number, max_size=number))

    kinds = pd.DataFrame(
        {
            "mode": pd.Series(column(st.sampled_from(["fo", "frozen"])), dtype="str"),
            "cut": column(st.integers(1, 3)),
            "seconds": column(st.sampled_from([0.5, 1.5])),
            "fits": column(st.booleans()),
        }
    )
    clients = draw(st.integers(1, 4))
    of_client = draw(st.lists(st.tuples(st.integers(0, clients - 1), st.integers(0, number - 1)), max_size=12))
    own = {
        "client": np.array([f"client-{one}" for one in range(clients)], dtype=object),
        "data_weight": np.linspace(0.1, 0.4, clients),
    }
    place, client = (np.array([pair[which] for pair in of_client], dtype=np.int64) for which in (1, 0))
    return OptionRows(kinds, place, client, own)


@settings(max_examples=30)
@given(rows())
def test_columns_are_those_of_the_table(found: OptionRows) -> None:
    frame = found.frame()
    assert len(frame) == len(found)
    assert list(frame.columns) == ["client", *COLUMNS, "data_weight"]
    for name in frame.columns:
        assert name in found
        assert found[name].tolist() == frame[name].tolist()
    for name in COLUMNS:
        codes, values = found.coded(name)
        assert [values[code] for code in codes.tolist()] == frame[name].tolist()
    assert "absent" not in found


@settings(max_examples=30)
@given(rows(), st.data())
def test_some_rows_are_some_rows_of_the_table(found: OptionRows, data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(found), max_size=len(found))), dtype=bool)
    wanted = found.frame()[mask].reset_index(drop=True)
    assert_frame_equal(found.take(mask).frame(), wanted)
    assert_frame_equal(found.frame(np.flatnonzero(mask)), wanted)


@settings(max_examples=30)
@given(rows(), rows())
def test_joined_rows_stand_behind(found: OptionRows, others: OptionRows) -> None:
    clients = np.zeros(len(others), dtype=np.int64)
    both = found.joined(others.kinds, others.place, clients)
    assert_frame_equal(both.take(np.arange(len(found))).frame(), found.frame())
    assert (
        both.frame()[["mode", "cut"]].to_numpy()[len(found) :].tolist()
        == others.frame()[["mode", "cut"]].to_numpy().tolist()
    )


@settings(max_examples=30)
@given(rows())
def test_repeats_are_found_as_pandas_finds_them(found: OptionRows) -> None:
    key = ["mode", "cut", "fits"]
    assert found.occurs_twice(key).tolist() == found.frame().duplicated(["client", *key]).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_a_plan_does_not_depend_on_how_rows_are_kept(seed: int) -> None:
    """Alike clients' rows once, against a row for every option of every client, shuffled."""
    instance = random_instance(seed, num_clients=5, num_options=6, local_steps=2)
    frame = instance.table.table
    costs = frame.drop(columns=["client", "data_weight"])
    once = costs.drop_duplicates().reset_index(drop=True)
    place = {tuple(row): number for number, row in enumerate(once.itertuples(index=False))}
    number, names = frame["client"].factorize()
    weight = frame.drop_duplicates("client")["data_weight"].to_numpy()
    kept = OptionRows(
        once,
        np.array([place[tuple(row)] for row in costs.itertuples(index=False)]),
        number.astype(np.int64),
        {"client": np.array(names.tolist(), dtype=object), "data_weight": weight},
    )
    plans = [
        make_plan(instance.scenario, OptionTable(table), "static")
        for table in (kept, frame, frame.sample(frac=1.0, random_state=seed))
    ]
    assert plans[0].clients == plans[1].clients
    assert plans[2].objective_s == pytest.approx(plans[1].objective_s, rel=1e-9)


def test_what_is_wrong_with_a_kind_names_a_client_that_has_it() -> None:
    instance = random_instance(1, num_clients=3, num_options=4)
    rows = instance.table.rows
    kinds = rows.kinds.assign(progress=rows.kinds["progress"].where(np.arange(len(rows.kinds)) != 5, -1.0))
    with pytest.raises(ContractError, match=rf"progress = -1.0 for client {rows['client'][5]}"):
        OptionTable(OptionRows(kinds, rows.place, rows.client, rows.own))
    # A kind that no row is of does not matter.
    kept = np.flatnonzero(rows.place != 5)
    assert len(OptionTable(OptionRows(kinds, rows.place[kept], rows.client[kept], rows.own)).table) == len(kept)
