"""The page in Chromium with known answers: the order of answers, cancelling, lanes, zoom, playing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.serving import answers
from tests.serving.browsing import answer_with, opened, shown, upload
from tests.serving.test_page import speech

pytestmark = pytest.mark.browser


def judged(page: Any, answer: dict[str, Any], name: str = "clip.wav", seconds: float = 3.0) -> None:
    answer_with(page, answer)
    upload(page, name, speech(seconds))
    shown(page)


def until(page: Any, true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it did not happen")


def text(page: Any, place: str) -> str:
    return str(page.inner_text(place)).replace("\u00a0", " ")


# ---- one answer at a time ----------------------------------------------------------------------------


def test_a_late_answer_is_never_under_another_files_name(page: Any) -> None:
    held: list[Any] = []
    page.route("**/v1/predict", lambda route: held.append(route))
    upload(page, "first.wav", speech(2))
    until(page, lambda: len(held) == 1)
    upload(page, "second.wav", speech(2))
    until(page, lambda: len(held) == 2)
    held[1].fulfill(json=answers.short().plain())
    shown(page)
    with suppress(Exception):  # it was aborted
        held[0].fulfill(json=answers.unclear().plain())
    page.wait_for_timeout(300)
    assert (text(page, "#answer-name"), text(page, "#title")) == ("second.wav", "Angry")


def test_a_file_that_is_still_being_read_gives_way_to_the_next(page: Any) -> None:
    answer_with(page, answers.short().plain())
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.evaluate(
        """() => {
          const decode = OfflineAudioContext.prototype.decodeAudioData;
          let wait = 700;
          OfflineAudioContext.prototype.decodeAudioData = async function (data) {
            const mine = wait;
            wait = 0;
            await new Promise((resolve) => setTimeout(resolve, mine));
            return decode.call(this, data);
          };
        }"""
    )
    upload(page, "slow.wav", speech(2))
    upload(page, "fast.wav", speech(2))
    shown(page)
    page.wait_for_timeout(1000)
    assert text(page, "#answer-name") == "fast.wav"
    assert sum("predict" in url for url in sent) == 1


def test_the_old_answer_leaves_when_a_file_is_chosen(page: Any) -> None:
    judged(page, answers.short().plain())
    page.unroute("**/v1/predict")
    page.route("**/v1/predict", lambda route: None)
    upload(page, "next.wav", speech(2))
    page.wait_for_selector("#busy:not([hidden])")
    for place in ("#answer", "#more", "#timeline-block"):
        assert page.is_hidden(place)
    assert text(page, "#busy-name") == "next.wav"


def test_cancelling_ends_the_request_and_the_page_goes_on(page: Any) -> None:
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.route("**/v1/predict", lambda route: None)
    upload(page, "clip.wav", speech(2))
    page.wait_for_selector("#busy:not([hidden])")
    page.locator("#busy-text", has_text="Sending").wait_for()
    page.click("#cancel")
    until(page, lambda: len(failed) == 1)
    assert page.is_hidden("#busy")
    assert "Cancelled" in text(page, "#empty")
    assert page.evaluate("document.activeElement.id") == "judge"
    answer_with(page, answers.short().plain())
    page.click("#judge")
    shown(page)
    assert text(page, "#answer-name") == "clip.wav"


def test_while_the_server_works_the_page_states_it(browser: Any, start_server: Callable[..., Any]) -> None:
    slow = start_server(model={"seconds": 1.5})
    try:
        with opened(browser, slow.url) as page:
            upload(page, "clip.wav", speech(3))
            page.locator("#busy-text", has_text="The server judges it").wait_for()
            page.locator("#elapsed", has_text="1").wait_for()
            assert page.is_disabled("#judge")
            shown(page)
            assert page.is_hidden("#busy")
    finally:
        slow.stop()
        slow.process.stderr.close()


# ---- what is shown -----------------------------------------------------------------------------------


def test_without_a_label_the_page_names_no_emotion(page: Any) -> None:
    judged(page, answers.unclear().plain())
    assert text(page, "#title") == "No clear emotion: sad 45 %, neutral 40 %"
    assert "nearly equally probable" in text(page, "#sentences")
    assert "Angry" not in text(page, "#answer")
    assert page.inner_text("#spoken").startswith("clip.wav: No clear emotion")


def test_where_no_word_mattered_none_is_marked(page: Any) -> None:
    judged(page, answers.with_words([0.02] * 11).plain())
    assert "No word mattered" in text(page, "#words-note")
    assert page.locator(".word.for, .word.against").count() == 0
    judged(page, answers.with_words().plain(), "other.wav")
    assert page.locator(".word.for").count() == 6 - 1
    assert page.locator(".word.against").count() == 1
    assert "falls to" in page.get_attribute(".word.for >> nth=0", "title")


def test_no_speech_shows_no_bars(page: Any) -> None:
    judged(page, answers.silent())
    assert text(page, "#title") == "No speech"
    assert page.is_hidden("#bars-block")
    assert page.is_hidden("#shares-block")


def test_equal_neighbours_are_one_row_and_moments_are_listed(page: Any) -> None:
    answer = answers.long(120).plain()
    judged(page, answer, seconds=120)
    assert len(answer["segments"]) > 50
    assert 5 < page.locator("#table tr").count() < 40
    assert page.locator("#moments button").count() == len(answer["moments"])
    assert "of the speech" in text(page, "#title")


def test_each_speaker_has_a_lane_and_a_summary(page: Any) -> None:
    judged(page, answers.two_speakers().plain(), seconds=25.4)
    assert text(page, "#title").startswith("left: neutral in 35 %")
    assert page.locator(".speaker h4").all_inner_texts() == ["left", "right"]
    assert "two speak at once" in text(page, "#legend")
    box = page.locator("#timeline").bounding_box()
    across = box["width"] / 25.4
    page.hover("#timeline", position={"x": 8.7 * across, "y": 84 + 15 + 8})
    assert text(page, "#readout").startswith("0:08.7 · left: no clear emotion, neutral 50 %, sad 42 %")
    page.hover("#timeline", position={"x": 8.7 * across, "y": 84 + 41 + 15 + 8})
    assert "right: angry 78 %" in text(page, "#readout")
    page.click("#turns-block summary")
    assert page.locator("#turns li").count() == 6
    assert "others speak too for 0.5 seconds" in text(page, "#turns")


def test_two_different_channels_are_a_question(page: Any) -> None:
    sent: list[bytes] = []
    page.route(
        "**/v1/predict",
        lambda route: (
            sent.append(route.request.post_data_buffer),
            route.fulfill(json=answers.two_speakers().plain()),
        ),
    )
    upload(page, "call.wav", speech(6, channels=2))
    page.wait_for_selector("#channels:not([hidden])")
    assert page.is_disabled("#judge")
    assert sent == []
    page.click("#split")
    shown(page)
    page.click("#mix")
    until(page, lambda: len(sent) == 2)
    shown(page)
    assert b'name="channels"' in sent[0] and b"split" in sent[0]
    assert b'name="channels"' not in sent[1]
    waves = [soundfile.read(io.BytesIO(body[body.index(b"RIFF") :]))[0] for body in sent]
    assert [wave.ndim for wave in waves] == [2, 1]


def test_channels_that_only_the_server_knows_are_a_question_too(page: Any) -> None:
    sent: list[bytes] = []

    def refuse_once(route: Any) -> None:
        sent.append(route.request.post_data_buffer)
        if len(sent) == 1:
            route.fulfill(status=422, json={"detail": "call.au: its channels hold different sounds"})
        else:
            route.fulfill(json=answers.short().plain())

    page.route("**/v1/predict", refuse_once)
    upload(page, "call.au", b"this browser cannot decode it")
    page.wait_for_selector("#error:not([hidden])")
    assert page.is_disabled("#judge")
    page.click("#mix")
    shown(page)
    assert b"mix" in sent[1]


def test_the_checkbox_for_words_is_there_if_the_server_reads_them(page: Any) -> None:
    assert page.is_hidden("#asr-field")
    page.route("**/v1/model", lambda route: route.fulfill(json={**route.fetch().json(), "asr": True}))
    page.reload()
    page.wait_for_selector("#asr-field:not([hidden])")
    sent: list[bytes] = []
    page.route(
        "**/v1/predict",
        lambda route: (
            sent.append(route.request.post_data_buffer),
            route.fulfill(json=answers.short().plain()),
        ),
    )
    page.check("#asr")
    upload(page, "clip.wav", speech(2))
    shown(page)
    assert b'name="asr"' in sent[0]


def test_where_several_models_are_served_a_person_chooses(
    browser: Any, start_server: Callable[..., Any], tmp_path: Path
) -> None:
    loads = {}
    for name, card in (("default", {}), ("other", {"abstain": {"threshold": 0.99}})):
        file = tmp_path / name
        file.write_text(json.dumps({"name": f"{name}@1", "card": card}))
        loads[name] = str(file)
    server = start_server(loads=loads, job_folder=str(tmp_path / "jobs"))
    with opened(browser, server.url) as page:
        assert page.locator("#model option").all_inner_texts() == ["Standard: default@1", "other: other@1"]
        named = "This model names angry, happy, sad or neutral."
        assert page.inner_text("#names") == named
        upload(page, "clip.wav", speech(2))
        shown(page)
        assert "default@1" in page.inner_text("#identity")
        page.focus("#model")
        page.keyboard.press("ArrowDown")
        page.click("#judge")
        until(page, lambda: "other@1" in page.inner_text("#identity"))
        upload(page, "talk.wav", speech(61))  # as a job
        until(page, lambda: "talk" in page.inner_text("#answer-name"))
        assert "other@1" in page.inner_text("#identity")
        page.reload()
        page.wait_for_selector("#model-field:not([hidden])")
        page.select_option("#model", "other")
        assert "other@1" in page.inner_text("#model-note")
        assert text(page, "#names") == f"{named} Below a probability of 99 % it names none."
    server.stop()
    server.process.stderr.close()


def test_one_model_is_no_choice(page: Any) -> None:
    assert page.is_hidden("#model-field")


# ---- the time line -----------------------------------------------------------------------------------


def in_view(page: Any) -> str:
    described = str(page.get_attribute("#timeline", "aria-valuetext"))
    return described.partition("In view: ")[2]


def test_the_time_line_zooms_by_buttons_keys_and_wheel(page: Any) -> None:
    judged(page, answers.long(120).plain(), seconds=120)
    assert in_view(page) == ""
    page.click("#zoom-in")
    assert in_view(page) == "0:30 to 1:30"
    page.click("#zoom-whole")
    page.focus("#timeline")
    page.keyboard.press("+")
    assert in_view(page) == "0:30 to 1:30"
    page.keyboard.press("0")
    assert in_view(page) == ""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.hover("#timeline", position={"x": 5, "y": 20})
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_timeout(100)
    assert in_view(page) == "0:01 to 0:27"
    page.mouse.down()
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + 5 - box["width"] / 2, box["y"] + 20, steps=4)
    page.mouse.up()
    assert in_view(page) == "0:14 to 0:41"


def test_two_fingers_zoom(browser: Any, server: Any) -> None:
    with opened(browser, server.url, has_touch=True) as page:
        judged(page, answers.long(120).plain(), seconds=120)
        page.locator("#timeline").scroll_into_view_if_needed()
        box = page.locator("#timeline").bounding_box()
        middle, y = box["x"] + box["width"] / 2, box["y"] + 20
        touch = page.context.new_cdp_session(page)

        def send(kind: str, apart: float) -> None:
            points = [{"x": middle - apart, "y": y, "id": 0}, {"x": middle + apart, "y": y, "id": 1}]
            event = {"type": kind, "touchPoints": [] if kind == "touchEnd" else points}
            touch.send("Input.dispatchTouchEvent", event)

        send("touchStart", 40)
        for apart in range(45, 165, 5):
            send("touchMove", apart)
        send("touchEnd", 0)
        page.wait_for_timeout(100)
        assert in_view(page) != ""


def test_keys_move_along_the_time_line_and_state_the_posterior(page: Any) -> None:
    judged(page, answers.long(120).plain(), seconds=120)
    page.focus("#timeline")
    page.keyboard.press("PageDown")
    page.wait_for_timeout(100)
    assert page.get_attribute("#timeline", "aria-valuenow") == "60.0"
    described = str(page.get_attribute("#timeline", "aria-valuetext")).replace("\u00a0", " ")
    assert described.startswith("1:00.0 · ")
    assert described.count("%") == 4


def test_a_moment_is_played_from_its_start_to_its_end(page: Any) -> None:
    cells = [answers.cell(0.2, 1.0, sad=0.8), answers.cell(2.0, 2.6, angry=0.9)]
    judged(page, replace(answers.prediction(cells), id="x").plain())
    assert page.locator("#moments button").count() == 2
    page.click("#moments button >> nth=0")
    page.wait_for_selector("#player")
    until(page, lambda: page.evaluate("document.getElementById('player').currentTime") > 2.05)
    until(page, lambda: page.evaluate("document.getElementById('player').paused"))
    assert 2.55 < page.evaluate("document.getElementById('player').currentTime") < 2.9
    assert text(page, "#moments li >> nth=0").replace("\n", " ").endswith("angry 90 %")
