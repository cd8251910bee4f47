from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from hybridsplit.orchestrator.plan_words import SCREENFUL
from hybridsplit.orchestrator.report import palette, render_report
from hybridsplit.orchestrator.report.headline import tiles
from hybridsplit.orchestrator.report.memory_by_cut import memory_by_cut_figure
from hybridsplit.orchestrator.report.tables import bottleneck_table, plan_table
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.prices import Marginal, Prices
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.units import counted, format_bytes_of, format_seconds

SECTIONS = [
    *(
        "headline",
        "plan",
        "latency",
        "rounds",
        "memory",
        "learning",
        "truth",
        "costs",
        "confidence",
        "options",
        "notes",
    ),
    "scenario",
]
RESOURCE_ATTRIBUTES = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}
ATTACK = "<script>alert('x')</script>"


class Page(HTMLParser):
    """The parts of a page that tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.resources: list[str] = []
        self.values: list[float] = []
        self.figures: list[dict] = []
        self.text = text
        self.styles = self.words = ""
        self._open = ""
        self._is_figure = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append(tag)
        self._open, self._is_figure = tag, "data-figure" in named
        self.resources += [value for key, value in attrs if key in RESOURCE_ATTRIBUTES and value is not None]
        if "id" in named:
            self.ids.append(named["id"])
        if "data-value" in named:
            self.values.append(float(named["data-value"]))

    def handle_endtag(self, tag):
        self._open, self._is_figure = "", False

    def handle_data(self, data):
        if self._is_figure:
            self.figures.append(json.loads(data))
        elif self._open == "style":
            self.styles += data
        elif self._open != "script":
            self.words += data


@pytest.mark.parametrize("num_clients", [1, 6, 100, 1000])
def test_every_size_has_every_section_and_stays_small(num_clients, report_data):
    text = render_report(report_data(num_clients))
    page = Page(text)
    assert [item for item in page.ids if item in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert len(text) < 6e6  # nearly all of it is plotly.js, once
    assert len(page.figures) == 8
    rows = {label for figure in page.figures[:2] for trace in figure["data"] for label in trace["y"]}
    assert 1 <= len(rows) <= 40


def test_a_plan_alone_has_every_section_and_says_what_is_missing(report_data):
    data = report_data(6, is_run=False, options=None, ledger=Ledger.from_entries([]))
    data = type(data)(
        data.scenario, data.plan.model_copy(update={"notes": ()}), None, data.ledger, data.rounds, data.memory
    )
    page = Page(render_report(data))
    assert [item for item in page.ids if item in SECTIONS] == SECTIONS
    for sentence in (
        "Nothing was trained here",
        "nothing was trained or evaluated",
        "nothing was replayed or trained",
        "no measured peak to compare with",
        "The ledger is empty",
        "what did not fit is not known",
        "There are no notes",
    ):
        assert sentence in page.words
    assert len(page.figures) == 2


def test_rounds_that_were_never_evaluated_say_so(report_data):
    data = report_data(6)
    rounds = data.rounds.assign(test_accuracy=np.nan)
    page = Page(render_report(report_data(6, rounds=rounds, control=None)))
    assert "No round was evaluated on test data." in page.words
    assert len(page.figures) == 7


def test_nothing_outside_the_page_is_referenced(report_data):
    text = render_report(report_data(12))
    page = Page(text)
    assert page.resources
    assert all(resource.startswith("#") for resource in page.resources)
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    assert not {"link", "iframe", "object", "embed", "img", "base"} & set(page.tags)
    assert "default-src 'none'" in text  # the browser refuses the network even to the library
    assert text.count("plotly.js v") == 1


def test_text_of_the_user_is_escaped(report_data, scenario_factory, plan_factory):
    scenario = scenario_factory(6, description=ATTACK)
    plan = plan_factory(scenario, notes=(ATTACK,), strategy=ATTACK)
    first = plan.clients[0].model_copy(
        update={"id": f"{ATTACK}-0", "device": ATTACK, "reason": ATTACK, "confidence": ATTACK}
    )
    plan = plan.model_copy(update={"clients": (first, *plan.clients[1:])})
    text = render_report(
        report_data(6, is_run=False, scenario=scenario, plan=plan, ledger=plan.ledger(), notes=(ATTACK,))
    )
    assert ATTACK not in text
    assert "<script>alert" not in text
    page = Page(text)
    assert page.words.count(ATTACK) >= 6
    labels = [str(label) for figure in page.figures for trace in figure["data"] for label in trace["y"]]
    assert not any("<" in label for label in labels)


def test_the_figures_of_the_plan_are_those_of_the_page(report_data):
    data = report_data(12)
    page = Page(render_report(data))
    values = set(page.values)
    plan = data.plan
    assert {plan.round_latency_s, plan.objective_s, plan.gap} <= values
    for client in plan.clients:
        exact = {client.uplink_share, client.downlink_share, client.server_share, client.latency_s, client.cut}
        assert exact | {client.client_peak_bytes} <= values
        assert client.id in page.words
        assert client.reason in page.words
        assert format_seconds(client.latency_s) in page.words
        assert format_bytes_of(client.client_peak_bytes, client.memory_budget_bytes) in page.words


def test_the_phase_figure_adds_up_to_the_round(report_data):
    for num_clients in (12, 1000):
        data = report_data(num_clients)
        figure = Page(render_report(data)).figures[0]
        sums = np.sum([np.array(trace["x"]) for trace in figure["data"]], axis=0)
        np.testing.assert_allclose(sums, data.plan.round_latency_s)


def test_the_truth_table_has_all_three_sources(report_data):
    data = report_data(6)
    page = Page(render_report(data))
    table = data.ledger.table
    for source in ("planned", "replayed", "measured"):
        mine = table[table["source"] == source]
        rounds = mine["round"].nunique()
        total_bytes = mine["bytes"].sum() / rounds
        elapsed_s = (mine["seconds"] + mine["waiting_s"]).sum() / rounds / 6
        assert any(value == pytest.approx(total_bytes) for value in page.values)
        assert any(value == pytest.approx(elapsed_s) for value in page.values)
    assert "emulated" in page.words
    assert "of it waiting" in page.words


def test_a_thousand_clients_are_all_listed_but_not_drawn(report_data):
    data = report_data(1000)
    page = Page(render_report(data))
    assert all(client.id in page.words for client in data.plan.clients)
    assert "pi4 (× 250)" in page.words
    assert len(page.figures[0]["data"][0]["y"]) == 4


def test_a_baseline_without_bound_or_prices_claims_none(report_data, scenario_factory, plan_factory):
    scenario = scenario_factory(6)
    plan = plan_factory(
        scenario,
        status=PlanStatus.BASELINE,
        lower_bound_s=0.0,
        schedule_lower_bound_s=0.0,
        gap=0.0,
        prices=Prices(),
        notes=(),
    )
    page = Page(render_report(report_data(6, is_run=False, scenario=scenario, plan=plan, ledger=plan.ledger())))
    assert "no lower bound is known" in page.words
    assert "saves" not in re.sub("saves 402 MiB", "", page.words)  # a client's reason


def test_bottlenecks_are_a_table_of_a_screenful_at_most(report_data, scenario_factory, plan_factory):
    scenario = scenario_factory(6)
    saving = [
        Marginal(
            resource="memory", clients=(f"g{i}-0",), amount_bytes=1024 * (i + 1), amount_fraction=0.5,
            option="cut 2 fo", saves_s=1.0 + i,
        )
        for i in range(1000)
    ]  # fmt: skip
    idle = Marginal(resource="server", amount_fraction=0.1, saves_s=0.0)
    plan = plan_factory(scenario, marginals=(idle, *saving))
    table = bottleneck_table(plan)
    assert len(table.rows) == SCREENFUL + 1
    assert [cell.text for cell in table.rows[0]] == ["g999-0 memory", "+1000 KiB", "16.7 min", "then cut 2 fo fits"]
    assert table.rows[-1][0].text == "and 988 more"
    page = Page(render_report(report_data(6, is_run=False, scenario=scenario, plan=plan, ledger=plan.ledger())))
    assert "g999-0 memory" in page.words
    assert "more of a shared resource saves nothing: not server +10 %" in page.words


def test_the_time_of_a_replay_counts_rounds_in_which_some_sit_out(report_data, scenario_factory, plan_factory):
    plan = plan_factory(scenario_factory(3))
    one, two, _ = (client.id for client in plan.clients)
    entries = [
        LedgerEntry(Source.REPLAYED, client, round_index, Phase.BARRIER, 0.0, seconds)
        for client, round_index, seconds in ((one, 0, 1.0), (two, 0, 1.0), (two, 1, 2.0), (one, 2, 4.0))
    ]
    data = report_data(3, is_run=False, plan=plan, ledger=Ledger.from_entries(entries))
    tile = next(tile for tile in tiles(data) if tile.label == "Simulated time")
    assert (tile.value, tile.note) == (7.0, "3 rounds replayed, not trained")


def test_the_scenario_is_there_as_yaml(report_data):
    page = Page(render_report(report_data(6)))
    assert "link_model: fixed" in page.words
    assert "memory_budget_bytes: 268435456" in page.words


def test_two_renderings_agree(report_data):
    assert render_report(report_data(6)) == render_report(report_data(6))


def test_an_empty_control_is_no_control(report_data):
    page = Page(render_report(report_data(6, control=pd.DataFrame())))
    assert "There is no frozen control" in page.words


@pytest.mark.parametrize("num_clients", [1, 6, 100])
@pytest.mark.parametrize("is_run", [True, False])
def test_sentences_stand_apart(num_clients, is_run, report_data, plan_factory, scenario_factory):
    """A sentence that goes on behind a condition of the template keeps its space."""
    saving = Marginal(resource="uplink", amount_hz=2e6, amount_fraction=0.1, saves_s=1.0)
    plan = plan_factory(scenario_factory(num_clients), marginals=(saving,))
    text = render_report(report_data(num_clients, is_run=is_run, plan=plan)).partition('id="scenario"')[0]
    page = Page(text.replace("</li>", " </li>"))
    assert re.findall(r"[a-z][.;:,][A-Za-z]\w*", page.words.replace("plan.json", "")) == []
    assert "solved again" in re.sub(r"\s+", " ", page.words)


def test_legends_name_what_the_plan_has(report_data):
    page = Page(render_report(report_data(8)))
    legend = re.search(r'<ul class="legend">(.*?)</ul>', page.text, re.DOTALL).group(1)
    assert re.findall(r"</span>([\w-]+)</li>", legend) == ["fo", "fo-recompute", "zo-projection"]


def test_only_whom_others_wait_for_is_slowest(report_data):
    data = report_data(8, is_run=False)
    tagged = [row[0].text for row in plan_table(data).rows if row[0].tag]
    assert tagged == [client.id for client in data.slowest]
    alike = tuple(
        client.model_copy(update={"latency_s": 46.0 + 1e-4 * i}) for i, client in enumerate(data.plan.clients)
    )
    tied = report_data(8, is_run=False, plan=data.plan.model_copy(update={"clients": alike}))
    assert [row[0].tag for row in plan_table(tied).rows] == [""] * 8
    assert tiles(tied)[0].note.startswith("all 8 clients end together")


def test_colours_are_seen_on_a_dark_page():
    for colour, dark in palette.dark_colours(["#000000", "#332288"]).items():
        assert re.fullmatch("#[0-9a-f]{6}", dark), colour
    ratios = [contrast(palette.on_dark(mode.colour), "#14191f") for mode in MODES.values()]
    assert min(ratios) >= 4.4
    assert palette.on_dark("#f0e442") == "#f0e442", "what is seen already stays"


def contrast(one, other):
    """Contrast ratio by WCAG 2, written out again."""
    levels = []
    for colour in (one, other):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        levels.append(sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)
    return max(levels) / min(levels)


def test_labels_of_close_budgets_share_a_line(report_data):
    data = report_data(8, is_run=False)
    table = data.options.table.copy()
    budgets = {"pi4-0": 500, "pi4-1": 512, "nano-0": 4000}
    table["memory_budget_bytes"] = table["client"].map(budgets).fillna(4000).astype(int) * 2**20
    annotations = memory_by_cut_figure(OptionTable(table)).layout.annotations
    texts = [one.text for one in annotations]
    assert texts[0] == "pi4: 500.00 MiB, pi4: 512.00 MiB"
    assert len(texts) == 2
    heights = sorted(one.y for one in annotations)
    assert heights[1] - heights[0] > 0.1


@pytest.mark.parametrize(("number", "text"), [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds"), (1200, "1,200 rounds")])
def test_counts_agree_with_their_nouns(number, text):
    assert counted(number, "round") == text


def test_one_round_is_one_round(report_data):
    page = Page(render_report(report_data(6, rounds=report_data(6).rounds.head(1))))
    assert "1 round of training" in page.words
    assert "1 rounds" not in page.words
