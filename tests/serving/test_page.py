"""The page in a real Chromium before a real server: from a recording to what is shown, drawn and refused."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.serving.browsing import opened, shown, upload

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.pwned=1"> I WILL <b>not</b>'
EXAMPLES = Path(__file__).parents[2] / "packages/undertone-starter/src/undertone_starter"


def speech(seconds: float, form: str = "WAV", channels: int = 1) -> bytes:
    """Real speech, again and again; each channel is another part of it."""
    clips = [soundfile.read(path, dtype="float32")[0] for path in sorted(EXAMPLES.glob("examples/*.flac"))]
    one = np.resize(np.concatenate(clips), round(seconds * 16000))
    columns = np.stack([np.roll(one, 20000 * channel) for channel in range(channels)], axis=1)
    file = io.BytesIO()
    soundfile.write(file, columns, 16000, format=form, subtype="PCM_16")
    return file.getvalue()


def colours(page: Any) -> set[str]:
    """Distinct colours of the time line."""
    return set(
        page.evaluate(
            """() => {
              const canvas = document.getElementById("timeline");
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              const seen = new Set();
              for (let i = 0; i < data.length; i += 4)
                if (data[i + 3]) seen.add(data.slice(i, i + 3).join());
              return [...seen];
            }"""
        )
    )


def test_an_upload_is_judged_and_drawn(page: Any, clip: bytes) -> None:
    page.fill("#text", "you DID that")
    upload(page, "clip.wav", clip)
    shown(page)
    assert page.inner_text("#answer-name") == "clip.wav"
    assert page.inner_text("#title").lower() in ("angry", "happy", "sad", "neutral")
    assert "%" in page.inner_text("#sentences")
    assert "3 words" in page.inner_text("#evidence").replace("\u00a0", " ")
    assert page.locator(".bar-group").count() == 4
    assert page.locator(".bar").count() == 12
    assert page.locator(".word").all_inner_texts() == ["you", "DID", "that"]
    shades = page.eval_on_selector_all(".word", "els => els.map(e => getComputedStyle(e).backgroundColor)")
    assert shades[1] not in (shades[0], "rgba(0, 0, 0, 0)")
    page.wait_for_timeout(300)
    assert len(colours(page)) > 1


def test_speech_alone_has_one_set_of_bars_and_is_named(page: Any, clip: bytes) -> None:
    upload(page, "clip.wav", clip)
    shown(page)
    assert "speech alone" in page.inner_text("#basis")
    assert page.locator(".bar").count() == 4
    assert page.is_hidden("#words-block")


def test_what_is_sent_is_16_bit_mono_at_16_khz(page: Any, make_wav: Callable[..., bytes]) -> None:
    sent: list[bytes] = []
    page.route(
        "**/v1/predict", lambda route: (sent.append(route.request.post_data_buffer), route.continue_())
    )
    file = io.BytesIO()
    tone = 0.4 * np.sin(np.arange(48000) / 20)
    soundfile.write(file, np.stack([tone, tone], axis=1), 48000, format="FLAC")
    upload(page, "tone.flac", file.getvalue())
    shown(page)
    (body,) = sent
    wave, rate = soundfile.read(io.BytesIO(body[body.index(b"RIFF") :]))
    assert (rate, wave.ndim) == (16000, 1)
    assert len(wave) == pytest.approx(16000, abs=80)
    assert 0.38 < np.abs(wave[1000:15000]).max() < 0.42


def test_a_file_that_the_browser_cannot_decode_goes_as_it_is(page: Any) -> None:
    upload(page, "clip.au", speech(3, "AU"))
    shown(page)
    assert page.inner_text("#answer-name") == "clip.au"
    assert page.inner_text("#chosen") == "clip.au: 94\u00a0kB"
    assert page.is_hidden("#player")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg writes the m4a file")
def test_m4a_is_judged_though_the_server_reads_none(page: Any, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(speech(3))
    command = ["ffmpeg", "-loglevel", "error", "-i", "a.wav", "-c:a", "aac", "a.m4a"]
    subprocess.run(command, cwd=tmp_path, check=True)
    page.set_input_files("#file", str(tmp_path / "a.m4a"))
    shown(page)
    assert page.inner_text("#answer-name") == "a.m4a"


def test_a_long_recording_gets_a_timeline(page: Any) -> None:
    upload(page, "talk.wav", speech(30))
    shown(page)
    page.wait_for_timeout(300)
    assert page.locator("#table tr").count() >= 2
    assert page.locator("#legend .key").count() >= 1
    assert len(colours(page)) > 5  # stretches, the wave, the axis


def test_the_microphone_is_recorded_sent_and_judged(page: Any) -> None:
    page.click("#record")
    page.wait_for_selector('#record[aria-pressed="true"]')
    page.wait_for_timeout(1500)
    assert "Stop" in page.inner_text("#record-text")
    page.wait_for_selector('#level:not([aria-valuenow="-60"])')
    assert float(page.get_attribute("#timeline", "aria-valuemax")) >= 5
    page.click("#record")
    shown(page)
    assert page.inner_text("#answer-name") == "recording.wav"
    assert page.evaluate("document.getElementById('player').duration") > 0.5
    assert page.is_hidden("#live")


def test_a_file_that_is_chosen_amid_a_recording_ends_it(page: Any, clip: bytes) -> None:
    page.click("#record")
    page.wait_for_selector('#record[aria-pressed="true"]')
    upload(page, "clip.wav", clip)
    shown(page)
    assert page.inner_text("#answer-name") == "clip.wav"
    assert page.get_attribute("#record", "aria-pressed") == "false"
    assert page.is_hidden("#live")


def test_a_refused_microphone_has_its_own_sentence(browser: Any, server: Any) -> None:
    with opened(browser, server.url, permissions=[]) as page:
        page.evaluate(
            """() => {
              const refuse = async () => { throw new DOMException("x", "NotAllowedError"); };
              navigator.mediaDevices.getUserMedia = refuse;
            }"""
        )
        page.click("#record")
        page.wait_for_selector("#error:not([hidden])")
        assert "microphone is not allowed" in page.inner_text("#error")


def test_a_bad_file_is_refused_in_words_and_the_page_goes_on(page: Any, clip: bytes) -> None:
    upload(page, "bad.wav", b"this is no sound")
    page.wait_for_selector("#error:not([hidden])")
    expected = "bad.wav is not a sound file that this browser or the server can read."
    assert page.inner_text("#error") == expected
    assert page.is_hidden("#answer")
    upload(page, "clip.wav", clip)
    shown(page)
    assert page.is_hidden("#error")


def test_what_is_too_long_is_refused_before_it_is_sent(
    browser: Any, start_server: Callable[..., Any]
) -> None:
    running = start_server(max_seconds=5.0)
    try:
        with opened(browser, running.url) as page:
            assert page.inner_text("#limits") == "up to 5\u00a0seconds"
            upload(page, "long.wav", speech(8))
            page.wait_for_selector("#error:not([hidden])")
            text = page.inner_text("#error").replace("\u00a0", " ")
            assert text == "This recording lasts 8 seconds; this server takes up to 5 seconds."
        assert not [line for line in running.requests if line["method"] == "POST"]
    finally:
        running.stop()
        running.process.stderr.close()


def test_other_peoples_words_and_names_stay_text(page: Any, clip: bytes) -> None:
    page.fill("#text", HOSTILE)
    upload(page, "<svg onload=window.pwned=2>.wav", clip)
    shown(page)
    assert page.inner_text("#words") == HOSTILE
    assert page.evaluate("window.pwned") is None
    assert page.locator("#answer img, #more img, #words b, #chosen svg").count() == 0


def test_the_answer_can_be_taken_along(page: Any, clip: bytes) -> None:
    upload(page, "clip.wav", clip)
    shown(page)
    with page.expect_download() as taken:
        page.click("#download")
    found = json.loads(Path(taken.value.path()).read_text())
    assert found["id"] == "clip.wav"
    assert set(found["perspectives"]) == {"fused", "speech"}


def test_all_of_it_works_by_keyboard(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached[:3] == ["record", "file", "text"]
    page.focus("#text")
    page.keyboard.type("so SAD")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "judge"
    page.keyboard.press("Enter")
    shown(page)
    assert "words alone" in page.inner_text("#basis")
    assert page.is_hidden("#timeline-block")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_fits_and_can_be_read(browser: Any, server: Any, clip: bytes, scheme: str, width: int) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, server.url, viewport=size, color_scheme=scheme) as page:
        page.fill("#text", "you DID that, unbelievably")
        upload(page, "a-file-name-that-is-much-longer-than-any-phone-is-wide-and-has-no-space.wav", clip)
        shown(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark, light = (
            page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
        )
        back, ink = (sum(map(int, colour[4:-1].split(","))) for colour in (dark, light))
        assert (back < ink) == (scheme == "dark")
        assert abs(back - ink) > 400


def test_no_token_and_a_wrong_one_have_their_own_sentences(
    browser: Any, start_server: Callable[..., Any], clip: bytes
) -> None:
    guarded = start_server(token="open sesame")
    try:
        with opened(browser, guarded.url) as page:
            page.wait_for_selector("#token-form:not([hidden])")
            assert "needs a token" in page.inner_text("#error")
            page.fill("#token", "wrong")
            page.keyboard.press("Enter")
            page.locator("#error", has_text="does not accept this token").wait_for()
            page.fill("#token", " open sesame ")
            page.keyboard.press("Enter")
            page.wait_for_selector("#model-note:not(:empty)")
            assert page.is_hidden("#error")
            upload(page, "clip.wav", clip)
            shown(page)
    finally:
        guarded.stop()
        guarded.process.stderr.close()


def test_an_example_is_fetched_judged_and_named(browser: Any, start_server: Callable[..., Any]) -> None:
    running = start_server(examples=str(EXAMPLES / "model"))
    try:
        with opened(browser, running.url) as page:
            assert page.locator("#example-list button").count() == 3
            page.click("#example-list button >> nth=0")
            shown(page)
            assert page.inner_text("#answer-name") == "1.flac"
            assert page.input_value("#text") == "Kids are talking by the door."
            page.click("#example-list button >> nth=2")
            page.locator("#answer-name", has_text="3.flac").wait_for()
            assert page.input_value("#text") == ""
    finally:
        running.stop()
        running.process.stderr.close()


def test_beyond_a_minute_a_recording_is_a_job_of_which_nothing_stays(
    browser: Any, start_server: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_server(job_folder=str(tmp_path / "jobs"))
    try:
        with opened(browser, running.url) as page:
            page.evaluate("import('/server.js').then(({ server }) => { server.jobs = true; })")
            upload(page, "short.wav", speech(5))
            shown(page)
            upload(page, "long.wav", speech(70))
            page.locator("#answer-name", has_text="long.wav").wait_for()
        running.until(lambda: any(line.get("method") == "DELETE" for line in running.requests))
        paths = [str(line["path"]) for line in running.requests if line.get("method") == "POST"]
        assert paths == ["/v1/predict", "/v1/jobs"]
        assert not list((tmp_path / "jobs").rglob("sound"))
    finally:
        running.stop()
        running.process.stderr.close()
