"""The page in headless Chromium: drawn, sent, answered, watched, refused."""

from __future__ import annotations

from typing import Any

import pytest
from page_server import CHROMIUM, FakeServer, drive, watched

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

READY = 'await until(() => !at("send").disabled);'
STROKE = "draw([[.2, .3], [.5, .3], [.8, .3]]);"
ANSWERED = 'await until(() => at("answer").querySelector("b"), "an answer");'


def infers(fake: FakeServer) -> list[Any]:
    return [body for what, body in fake.asked if what == "infer"]


def test_a_drawing_is_sent_and_its_classes_are_shown() -> None:
    fake = FakeServer(monitor=watched())
    found = drive(
        fake,
        f"""{READY}{STROKE}{ANSWERED}
        results.best = at("answer").querySelector(".winner b").textContent;
        results.rows = at("answer").querySelectorAll(".bars li").length;
        results.width = at("answer").querySelector(".bar i").style.width;
        results.spoken = at("spoken").textContent;
        results.state = at("state-text").textContent;
        results.models = at("model").options.length;
        results.curl = at("curl").textContent;
        at("many").click();
        await until(() => !at("send").disabled);
        results.trips = at("latency").querySelector(".axis").textContent;
        at("label").value = "7";
        at("feedback").requestSubmit();
        await until(() => at("feedback-said").textContent);
        results.thanks = at("feedback-said").textContent;
        results.wide = page().documentElement.scrollWidth <= frame.clientWidth;""",
    )
    (tensor,) = infers(fake)[0]["inputs"]
    assert tensor["shape"] == [1, 16, 16, 1]
    rows = [tensor["data"][16 * row : 16 * row + 16] for row in range(16)]
    assert max(rows[4]) > 0.9  # the stroke at 0.3 of 16 rows
    assert max(rows[12]) == 0
    assert infers(fake)[0]["outputs"] == [{"name": "digit", "parameters": {"classification": 10}}]
    assert found["rows"] == 10
    assert found["best"] in fake.labels
    assert found["spoken"].startswith(f"digit: {found['best']}, ")
    assert float(found["width"].rstrip("%")) > 10
    assert found["models"] == 1  # the one that is not ready is not offered
    assert found["curl"].startswith("curl http://127.0.0.1:")
    assert "51" in found["trips"]
    feedback = [body for what, body in fake.asked if what.endswith("feedback")]
    assert feedback == [{"id": infers(fake)[-1]["id"], "label": 7}]
    assert found["thanks"].startswith("Thank you")
    assert found["state"] == "ready"
    assert found["wide"]
    assert "violations" not in found


@pytest.mark.slow
def test_the_keyboard_draws_too() -> None:
    fake = FakeServer()
    found = drive(
        fake,
        f"""{READY}
        for (let step = 0; step < 4; step += 1) key("ArrowUp");
        for (let step = 0; step < 5; step += 1) key("ArrowRight", {{shiftKey: true}});
        {ANSWERED}
        results.monitor = at("monitor").textContent;
        results.feedback = at("feedback").hidden;""",
    )
    data = infers(fake)[-1]["inputs"][0]["data"]
    row = data[16 * 4 : 16 * 5]
    assert max(row[8:13]) > 0.5  # from the middle, four up, five to the right
    assert max(data[16 * 10 :]) == 0
    assert "kilnx package" in found["monitor"]
    assert found["feedback"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "shape"),
    [
        ("[[[1],[2]],[[3],[4]]]", [1, 2, 2, 1]),
        ("[1, 2, 3, 4]", [1, 2, 2, 1]),
        ('[{"name": "image", "shape": [1, 2, 2, 1], "datatype": "FP32", "data": [1,2,3,4]}]', None),
    ],
)
def test_json_is_taken_in_every_form(typed: str, shape: list[int] | None) -> None:
    fake = FakeServer(inputs=[{"name": "image", "datatype": "FP32", "shape": [-1, 2, 2, 1]}])
    drive(
        fake,
        f"""{READY}
        page().querySelector("input[value=json]").click();
        at("text").value = {typed!r};
        at("send").click();
        {ANSWERED}""",
    )
    (tensor,) = infers(fake)[-1]["inputs"]
    assert tensor["data"] == [1, 2, 3, 4]
    assert tensor["shape"] == (shape or [1, 2, 2, 1])


@pytest.mark.slow
def test_what_is_wrong_is_said_and_nothing_is_sent() -> None:
    fake = FakeServer(inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 3]}])
    found = drive(
        fake,
        f"""{READY}
        results.example = at("text").value;
        results.said = [];
        for (const typed of ["[1, 2", "[1, 2]", "[[1, 2, 3], [4]]", "{{}}"]) {{
          at("text").value = typed;
          at("send").click();
          results.said.push(at("error").textContent);
        }}
        results.invalid = at("text").getAttribute("aria-invalid");""",
    )
    assert infers(fake) == []
    assert found["example"] == '[{"name":"x","datatype":"FP32","shape":[1,3],"data":[0,0,0]}]'
    broken, short, unequal, other = found["said"]
    assert "not JSON" in broken
    assert "any × 3" in short
    assert "unequal" in unequal
    assert other
    assert found["invalid"] == "true"


@pytest.mark.slow
def test_an_image_is_brought_to_the_models_size() -> None:
    fake = FakeServer(inputs=[{"name": "image", "datatype": "UINT8", "shape": [-1, 3, 128, 160]}])
    drive(
        fake,
        f"""{READY}
        const made = new frame.contentWindow.OffscreenCanvas(40, 30);
        const paint = made.getContext("2d");
        paint.fillStyle = "rgb(255, 0, 0)";
        paint.fillRect(0, 0, 40, 30);
        const blob = await made.convertToBlob();
        const held = new frame.contentWindow.DataTransfer();
        held.items.add(new frame.contentWindow.File([blob], "red.png", {{type: "image/png"}}));
        at("file").files = held.files;
        at("file").dispatchEvent(new frame.contentWindow.Event("change"));
        {ANSWERED}""",
    )
    (tensor,) = infers(fake)[-1]["inputs"]
    assert tensor["shape"] == [1, 3, 128, 160]
    plane = 128 * 160
    assert set(tensor["data"][:plane]) == {255}
    assert set(tensor["data"][plane:]) == {0}


@pytest.mark.slow
def test_a_token_is_asked_for_and_kept() -> None:
    fake = FakeServer(token="right")
    found = drive(
        fake,
        """await until(() => at("ask").open);
        at("token").value = "wrong";
        at("ask-form").requestSubmit();
        await until(() => at("ask").open && at("ask-why").textContent.startsWith("That token"));
        at("token").value = "right";
        at("ask-form").requestSubmit();
        await until(() => !at("send").disabled);
        results.kept = frame.contentWindow.sessionStorage.getItem("kilnx-token");
        results.forget = at("token-button").hidden;
        results.open = at("ask").open;""",
    )
    assert found == {"kept": "right", "forget": False, "open": False}


@pytest.mark.slow
def test_a_refusal_of_the_server_is_shown_in_its_words() -> None:
    fake = FakeServer(refuses=(400, "image: shape [1, 16] does not fit"))
    found = drive(
        fake,
        f"""{READY}{STROKE}
        await until(() => !at("error").hidden);
        results.said = at("error").textContent;
        results.again = !at("send").disabled;""",
    )
    assert found["said"] == "image: shape [1, 16] does not fit"
    assert found["again"]


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.slow), 390])
def test_the_monitor_shows_an_alarm_and_who_answers(width: int) -> None:
    fake = FakeServer(monitor=watched(alarm=True))
    found = drive(
        fake,
        f"""{READY}{STROKE}{ANSWERED}
        await until(() => at("monitor").querySelector(".alarms"));
        results.alarm = at("monitor").querySelector(".alarms").textContent;
        results.monitor = at("monitor").textContent;
        results.who = at("who").textContent;
        results.meter = at("monitor").querySelector(".meter i").style.width;
        results.fits = page().documentElement.scrollWidth <= frame.clientWidth;""",
        width=width,
    )
    assert "Inputs" in found["alarm"]
    assert "0.1 to 0.2: 60.0% of late, 5.0% proven" in found["monitor"]
    assert "fp32" in found["who"]
    assert found["meter"] == "100%"
    assert found["fits"]
    assert "violations" not in found
