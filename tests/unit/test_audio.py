"""Decoding: every ordinary file in, every bad one out with a message for its owner."""

from __future__ import annotations

import functools
import os
import struct
import subprocess
import sys
import wave
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from gpu_jobs.audio import AudioLimits, Recording, decode_recording
from shared.domain.errors import JobFailure
from tests import sounds
from tests.damage import DAMAGES, Damage
from tests.media_files import RECIPES, make

FORMATS = [
    ("a.wav", "pcm_s16le", 8_000, "mono"),
    ("a.wav", "pcm_s24le", 96_000, "5.1"),
    ("a.wav", "pcm_f32le", 44_100, "stereo"),
    ("a.mp3", "libmp3lame", 44_100, "stereo"),
    ("a.flac", "flac", 48_000, "mono"),
    ("a.ogg", "libopus", 48_000, "stereo"),
    ("a.opus", "libopus", 48_000, "mono"),
    ("a.m4a", "aac", 44_100, "mono"),
    ("a.mkv", "aac", 44_100, "stereo"),
    ("a.aiff", "pcm_s16be", 22_050, "mono"),
    ("a.flac", "flac", 48_000, "7.1"),
    ("a.mkv", "ac3", 48_000, "5.1"),
    ("a.wav", "pcm_s16le", 48_000, "7.1"),
]


def failure_of(path: Path, limits: AudioLimits | None = None) -> JobFailure:
    with pytest.raises(JobFailure) as caught:
        decode_recording(path, limits)
    return caught.value


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), FORMATS)
def test_every_format_becomes_mono_at_16_khz_of_the_same_length_and_loudness(
    tmp_path: Path, name: str, codec: str, rate: int, layout: str
) -> None:
    path = sounds.write_audio(tmp_path / name, sounds.tone(2.0, rate), rate=rate, codec=codec, layout=layout)

    recording = decode_recording(path)

    assert recording.samples.dtype == np.float32
    assert recording.duration_seconds == pytest.approx(2.0, abs=0.1)
    middle = np.asarray(recording.slice(0.5, 1.5))
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)
    crossings = np.count_nonzero(np.diff(np.signbit(middle)))
    assert crossings == pytest.approx(880, abs=10)  # 440 Hz for one second


def test_the_sound_track_of_a_video_is_found(tmp_path: Path) -> None:
    path = sounds.write_video(tmp_path / "a.mp4", 2.0, sounds.tone(2.0))

    assert decode_recording(path).duration_seconds == pytest.approx(2.0, abs=0.15)


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    path = sounds.write_audio(tmp_path / "a.flac", sounds.tone(1.0), codec="flac").rename(tmp_path / "song.mp3")

    assert decode_recording(path).duration_seconds == pytest.approx(1.0, abs=0.01)


def test_a_tenth_of_a_second_is_decoded(tmp_path: Path) -> None:
    path = sounds.write_audio(tmp_path / "a.wav", sounds.tone(0.1))

    assert decode_recording(path).duration_seconds == pytest.approx(0.1)


def test_a_text_named_mp3_is_unreadable_and_the_message_says_what_to_upload(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp3"
    path.write_text("Dear all, the recording is attached.\n" * 500)

    failure = failure_of(path)

    assert failure.code == "audio_unreadable"
    assert "MP3, WAV, M4A, FLAC, OGG or video" in failure.message
    assert str(tmp_path) not in failure.message


def test_an_empty_file_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(b"")

    assert "empty" in failure_of(path).message


def test_random_bytes_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(np.random.default_rng(3).bytes(200_000))

    assert failure_of(path).code == "audio_unreadable"


def test_an_mp4_cut_before_its_index_is_unreadable(tmp_path: Path) -> None:
    whole = sounds.write_video(tmp_path / "a.mp4", 3.0, sounds.tone(3.0))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    failure = failure_of(cut)

    assert failure.code == "audio_unreadable"
    assert "incomplete" in failure.message


def test_an_mp4_cut_after_its_index_keeps_what_is_there_and_warns(tmp_path: Path) -> None:
    whole = sounds.write_audio(tmp_path / "a.m4a", sounds.noise(20.0), codec="aac", movflags="faststart")
    cut = tmp_path / "cut.m4a"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    recording = decode_recording(cut)

    assert 3.0 < recording.duration_seconds < 17.0
    assert any("only" in warning for warning in recording.warnings)


def sounding_seconds(recording: Recording) -> list[float]:
    """Where sound begins and ends."""
    blocks = np.asarray(recording.samples)[: len(recording.samples) // 160 * 160].reshape(-1, 160)
    is_loud = np.abs(blocks).max(axis=1) > 0.1
    return [float(at) / 100 for at in np.flatnonzero(np.diff(is_loud, prepend=False, append=False))]


def test_what_was_left_out_of_a_call_is_silence_so_that_times_are_the_player_s(tmp_path: Path) -> None:
    path = sounds.write_parts(tmp_path / "a.mkv", {0.0: sounds.tone(2.0), 7.0: sounds.tone(1.0)})

    recording = decode_recording(path)

    assert recording.duration_seconds == pytest.approx(8.0, abs=0.01)
    assert sounding_seconds(recording) == pytest.approx([0.0, 2.0, 7.0, 8.0], abs=0.02)
    assert recording.levels is not None
    assert recording.levels.shape[1] == pytest.approx(800, abs=1)
    assert recording.warnings == ()


def test_sound_that_begins_after_the_pictures_keeps_its_time(tmp_path: Path) -> None:
    path = sounds.write_parts(tmp_path / "a.mkv", {1.5: sounds.tone(2.0)}, video_seconds=4.0)

    assert sounding_seconds(decode_recording(path)) == pytest.approx([1.5, 3.5], abs=0.02)


def test_a_wild_time_makes_no_recording_longer_than_its_bytes_can_be(tmp_path: Path) -> None:
    parts = {0.0: sounds.tone(2.0), 100_000.0: sounds.tone(1.0)}

    assert decode_recording(sounds.write_parts(tmp_path / "a.mkv", parts)).duration_seconds == pytest.approx(3.0)


@pytest.mark.parametrize(("starts", "lasts"), [(5.0, 7.0), (1_000.0, 4.0)])
def test_a_broadcast_whose_times_begin_anew_has_no_silence_there(tmp_path: Path, starts: float, lasts: float) -> None:
    tone = sounds.tone(2.0, 48_000)
    path = sounds.write_parts(tmp_path / "a.ts", {0.0: tone, starts: tone}, rate=48_000, codec="mp2")

    assert decode_recording(path).duration_seconds == pytest.approx(lasts, abs=0.1)


def test_a_damaged_middle_is_skipped_with_a_warning(tmp_path: Path) -> None:
    path = sounds.write_audio(tmp_path / "a.flac", sounds.noise(10.0), codec="flac")
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 20_000] = np.random.default_rng(5).bytes(20_000)
    path.write_bytes(damaged)

    recording = decode_recording(path)

    assert recording.duration_seconds > 5.0
    assert np.all(np.isfinite(recording.samples))


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    failure = failure_of(sounds.write_video(tmp_path / "a.mp4", 1.0))

    assert failure.code == "no_audio_track"
    assert "no sound" in failure.message


def test_a_file_with_an_empty_audio_track_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)

    assert failure_of(path).code == "audio_unreadable"


def test_a_recording_over_the_limit_is_refused_by_its_header_and_by_its_samples(tmp_path: Path) -> None:
    wav = sounds.write_audio(tmp_path / "a.wav", sounds.tone(3.0))
    # A raw ADTS stream declares no length: only counting can tell.
    adts = sounds.write_audio(tmp_path / "a.aac", sounds.tone(3.0), codec="aac")
    limits = AudioLimits(max_duration_seconds=2.0)

    for path in (wav, adts):
        failure = failure_of(path, limits)
        assert failure.code == "audio_too_long"
        assert "split it" in failure.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile://{target}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile '{target}'\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"),
        ("list.mpd", '<?xml version="1.0"?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>'),
    ],
)
def test_a_playlist_never_reaches_another_file(tmp_path: Path, name: str, text: str) -> None:
    target = sounds.write_audio(tmp_path / "secret.wav", sounds.tone(3.0))
    path = tmp_path / name
    path.write_text(text.format(target=target))

    assert failure_of(path).code == "audio_unreadable"


def test_channels_wired_the_wrong_way_round_do_not_silence_each_other(tmp_path: Path) -> None:
    sound = np.stack([sounds.tone(1.0), -sounds.tone(1.0)])
    path = sounds.write_audio(tmp_path / "a.wav", sound, layout="stereo")

    assert np.max(np.abs(decode_recording(path).samples)) > 0.25


def test_broken_samples_become_sound_within_bounds(tmp_path: Path) -> None:
    sound = sounds.tone(1.0)
    sound[100:200], sound[300:400] = np.nan, 7.0
    path = sounds.write_audio(tmp_path / "a.wav", sound, codec="pcm_f32le")

    samples = decode_recording(path).samples

    assert np.all(np.isfinite(samples))
    assert np.max(np.abs(samples)) <= 1.0


def test_a_few_kilobytes_that_promise_millions_of_samples_get_no_memory(tmp_path: Path) -> None:
    data = bytearray(make(RECIPES["m4a_aac"], 2))
    samples = 80_000_000  # 24 bytes each in the decoder's index
    at = data.index(b"stsz") + 4
    data[at + 4 : at + 12] = struct.pack(">II", 1, samples)
    at = data.index(b"stts") + 4
    data[at + 4 : at + 16] = struct.pack(">III", 1, samples, 1_024)
    at = data.index(b"stsc") + 4
    data[at + 4 : at + 20] = struct.pack(">IIII", 1, 1, samples, 1)
    (tmp_path / "bomb.m4a").write_bytes(data)
    code = (
        "import sys; from pathlib import Path; from gpu_jobs.audio import decode_recording\n"
        "try: decode_recording(Path(sys.argv[1]))\n"
        "except Exception as error: print(error.code)\n"
        "status = Path('/proc/self/status').read_text()\n"  # getrusage's figure has the parent's in it
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"
    )

    command = [sys.executable, "-c", code, str(tmp_path / "bomb.m4a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    failure, peak_mebibytes = done.stdout.split()
    assert failure == "audio_unreadable"
    assert int(peak_mebibytes) < 512


def test_a_header_that_claims_a_thousand_hours_is_not_believed(tmp_path: Path) -> None:
    data = bytearray(make(RECIPES["mkv_flac"], 4))
    at = data.index(b"\x44\x89\x88") + 3
    data[at : at + 8] = struct.pack(">d", 1000 * 3600 * 1000)
    path = tmp_path / "a.mkv"
    path.write_bytes(data)

    assert decode_recording(path).duration_seconds == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("width_bytes", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [8, 9, 64, 65, 100])
def test_any_number_of_channels_becomes_one(tmp_path: Path, channels: int, width_bytes: int) -> None:
    rate_hz = 8_000
    scale, offset = 2 ** (8 * width_bytes - 1) - 1, 128 if width_bytes == 1 else 0
    values = (sounds.tone(1.0, rate_hz) * scale).astype(np.int64) + offset
    one = values.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width_bytes]
    body = np.repeat(one[:, None, :], channels, axis=1).tobytes()
    block_bytes = channels * width_bytes
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * block_bytes, block_bytes, 8 * width_bytes)
    head = b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    path = tmp_path / "a.wav"
    path.write_bytes(head + b"data" + struct.pack("<I", len(body)) + body)

    recording = decode_recording(path)

    assert recording.duration_seconds == pytest.approx(1.0)
    middle = np.asarray(recording.slice(0.25, 0.75))
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_a_rate_of_one_sample_a_second_does_not_blow_a_file_up(tmp_path: Path) -> None:
    data = bytearray(make(RECIPES["wav_mulaw"], 4))
    at = data.index(b"fmt ") + 8 + 4
    data[at : at + 4] = struct.pack("<I", 1)
    (tmp_path / "a.wav").write_bytes(data)

    assert failure_of(tmp_path / "a.wav").code == "audio_unreadable"


def test_subtitles_alone_are_no_recording(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mkv"
    text = tmp_path / "a.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:02,000\nHello there.\n")
    with av.open(str(text)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.subtitles[0])
        for packet in source.demux(source.streams.subtitles[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)

    failure = failure_of(path)

    assert failure.code == "no_audio_track"


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=timedelta(seconds=10),
    suppress_health_check=list(HealthCheck),
)
@given(damage=DAMAGES)
def test_damage_never_breaks_the_decoder(tmp_path_factory: pytest.TempPathFactory, damage: Damage) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damage.done_to(_file(damage.name)))

    try:
        recording = decode_recording(path)
    except JobFailure:
        return

    assert np.all(np.isfinite(recording.samples))


@functools.cache
def _file(name: str) -> bytes:
    return make(RECIPES[name], 2)
