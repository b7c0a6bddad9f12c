"""Recordings fetched by a job from servers on loopback: files, pages, and what is neither."""

from __future__ import annotations

import functools
import socket
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UnsupportedError

from gpu_jobs import fetch_apart, fetch_site
from gpu_jobs.fetch import Fetcher, FetchSettings
from gpu_jobs.sources import Fetched, SiteOrder
from shared.adapters.pinned import GuardedConnector
from shared.domain.errors import JobFailure
from tests.integration.web_servers import Reply, site
from tests.media_files import RECIPES, make

SOURCE_CODES = {code for code in JobFailure.CODES if code.startswith("source_")}
LOCAL = FetchSettings(allow_loopback=True)


@functools.cache
def _mp3() -> bytes:
    return make(RECIPES["mp3_cbr"], 2)


def _fetch(replies: dict[str, Reply], path: str, folder: Path, settings: FetchSettings = LOCAL) -> Fetched:
    with site(lambda asked: replies.get(asked, Reply(status=404))) as running:
        location = {name: value.replace("{site}", running.url("")) for name, value in _locations(replies).items()}
        for where, target in location.items():
            replies[where].headers["Location"] = target
        return Fetcher(settings).fetch(running.url(path), folder)


def _locations(replies: dict[str, Reply]) -> dict[str, str]:
    return {path: reply.headers["Location"] for path, reply in replies.items() if "Location" in reply.headers}


def _failure(replies: dict[str, Reply], path: str, folder: Path, settings: FetchSettings = LOCAL) -> JobFailure:
    with pytest.raises(JobFailure) as caught:
        _fetch(replies, path, folder, settings)
    assert "127.0.0.1" not in caught.value.message  # a failure repeats no address: it may hold a token
    return caught.value


def test_a_file_is_fetched_whatever_its_type_says(tmp_path: Path) -> None:
    reply = Reply(body=_mp3(), headers={"Content-Type": "text/plain"})

    fetched = _fetch({"/a%20talk.mp3?token=x": reply}, "/a%20talk.mp3?token=x", tmp_path)

    assert fetched.path.read_bytes() == _mp3()
    assert (fetched.filename, fetched.size_bytes) == ("a talk.mp3", len(_mp3()))


def test_redirects_are_followed_to_the_file(tmp_path: Path) -> None:
    replies = {
        "/short": Reply(status=302, headers={"Location": "/middle"}),
        "/middle": Reply(status=308, headers={"Location": "{site}/episode.mp3"}),
        "/episode.mp3": Reply(body=_mp3()),
    }

    assert _fetch(replies, "/short", tmp_path).filename == "episode.mp3"


def test_a_file_of_unknown_length_is_fetched_until_it_ends(tmp_path: Path) -> None:
    assert _fetch({"/a.mp3": Reply(body=_mp3(), claims_bytes=-1)}, "/a.mp3", tmp_path).size_bytes == len(_mp3())


def test_the_player_on_a_page_is_found(tmp_path: Path) -> None:
    page = b"<html><head><title>A talk</title></head><body><video src='/media/talk.mp4'></video></body></html>"
    video = make(RECIPES["mp4_video"], 2)
    replies = {
        "/talk": Reply(body=page, headers={"Content-Type": "text/html"}),
        "/media/talk.mp4": Reply(body=video, headers={"Content-Type": "video/mp4"}),
    }

    fetched = _fetch(replies, "/talk", tmp_path)

    assert fetched.path.read_bytes() == video
    assert fetched.filename.startswith("A talk")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=404), "source_not_found"),
        (Reply(status=410), "source_not_found"),
        (Reply(status=401), "source_forbidden"),
        (Reply(status=403), "source_forbidden"),
        (Reply(status=429), "source_blocked"),
        (Reply(status=503), "source_timeout"),
        (Reply(body=bytes(300), headers={"icy-name": "Radio", "icy-br": "128"}, claims_bytes=-1), "source_is_live"),
        (Reply(body=bytes(300), headers={"Ice-Audio-Info": "bitrate=128"}, claims_bytes=-1), "source_is_live"),
        (Reply(body=b"x" * 100, claims_bytes=10**12), "source_too_large"),
        (Reply(body=b"%PDF-1.7\n" + bytes(300)), "source_not_media"),
        (Reply(body=b"PK\x03\x04" + bytes(300)), "source_not_media"),
        (Reply(body=b""), "source_not_media"),
        (Reply(body=b"just words"), "source_not_media"),
        (Reply(body=b"<html><body>no player here</body></html>"), "source_not_media"),
        (Reply(body=b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n"), "source_is_playlist"),
        (Reply(body=b"ffconcat version 1.0\nfile 'file:/etc/passwd'\n"), "source_is_playlist"),
        (Reply(status=302, headers={"Location": "http://169.254.169.254/latest/"}), "source_forbidden"),
        (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "source_forbidden"),
        (Reply(status=302, headers={"Location": "http://[::ffff:10.0.0.1]/"}), "source_forbidden"),
    ],
)
def test_what_is_no_recording_fails_with_its_own_code(
    reply: Reply, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_jobs.fetch.PAUSE_SECONDS", 0.0)

    failure = _failure({"/a.mp3": reply}, "/a.mp3", tmp_path)

    assert failure.code == code
    assert failure.code in JobFailure.CODES


def test_an_address_is_no_reason(tmp_path: Path) -> None:
    """The path, the port and the name of a recording may say 403, private or removed."""
    path = "/private/members-only/403-404-410-429-503:/removed/drm.mp3"

    failure = _failure({path: Reply(body=b"<html><body>no player here</body></html>")}, path, tmp_path)

    assert failure.code == "source_not_media"


def test_a_file_that_grows_over_the_limit_is_cut(tmp_path: Path) -> None:
    settings = replace(LOCAL, max_bytes=len(_mp3()) - 1)

    assert _failure({"/a": Reply(body=_mp3(), claims_bytes=-1)}, "/a", tmp_path, settings).code == "source_too_large"


def test_a_file_that_is_too_long_is_refused_by_its_length(tmp_path: Path) -> None:
    settings = replace(LOCAL, max_duration_seconds=1.0)

    failure = _failure({"/a.mp3": Reply(body=_mp3())}, "/a.mp3", tmp_path, settings)

    assert failure.code == "source_too_long"
    assert "split it" in failure.message


def test_a_server_that_breaks_off_once_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_jobs.fetch.PAUSE_SECONDS", 0.0)
    replies = iter([Reply(body=_mp3()[:5000], claims_bytes=len(_mp3())), Reply(body=_mp3())])
    with site(lambda _path: next(replies)) as running:
        fetched = Fetcher(LOCAL).fetch(running.url("/a.mp3"), tmp_path)

    assert fetched.path.read_bytes() == _mp3()


def test_a_page_that_points_into_our_network_gets_nothing(tmp_path: Path) -> None:
    page = b"<html><body><video src='http://10.0.0.1/secret.mp4'></video></body></html>"

    failure = _failure({"/talk": Reply(body=page, headers={"Content-Type": "text/html"})}, "/talk", tmp_path)

    assert failure.code in {"source_forbidden", "source_not_media"}


def _then(reply: Reply) -> Any:
    """A page for us, so that the site's program is asked, and ``reply`` for that."""
    replies = iter([Reply(body=b"<html></html>", headers={"Content-Type": "text/html"})])
    return lambda _path: next(replies, reply)


def _site_failure(reply: Reply, folder: Path, settings: FetchSettings = LOCAL) -> JobFailure:
    with site(_then(reply)) as running, pytest.raises(JobFailure) as caught:
        Fetcher(settings).fetch(running.url("/talk"), folder)
    assert running.requests[1:] != []  # it was the site's program that met it
    return caught.value


def test_a_page_that_unpacks_to_gigabytes_costs_its_own_job_only(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    megabyte = b"<p>" + b"a" * (1024 * 1024 - 3)
    bomb = b"".join([*(packer.compress(megabyte) for _ in range(250)), packer.flush()])
    settings = replace(LOCAL, max_memory_bytes=200 * 1024**2)
    headers = {"Content-Type": "text/html", "Content-Encoding": "gzip"}

    assert _site_failure(Reply(body=bomb, headers=headers), tmp_path, settings).code == "source_too_large"
    assert len(bomb) < 1_000_000


def test_a_page_that_never_ends_is_given_up_on(tmp_path: Path) -> None:
    settings = replace(LOCAL, page_seconds=4.0)
    reply = Reply(body=b"<html>", headers={"Content-Type": "text/html"}, claims_bytes=1_000, stalls_seconds=30)

    assert _site_failure(reply, tmp_path, settings).code == "source_timeout"


def test_a_job_that_must_stop_does_not_wait_for_a_site(tmp_path: Path) -> None:
    class MustStopError(Exception):
        pass

    def stop(_received: int) -> None:
        raise MustStopError

    reply = Reply(body=b"<html>", headers={"Content-Type": "text/html"}, claims_bytes=1_000, stalls_seconds=30)
    with site(_then(reply)) as running, pytest.raises(MustStopError):
        Fetcher(LOCAL).fetch(running.url("/talk"), tmp_path, stop)


def test_the_sites_program_knows_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(
        fetch_apart, "_CODE", "import json, os; print(json.dumps({'title': ' '.join(sorted(os.environ))}))"
    )
    order = SiteOrder(
        url="x",
        folder=str(tmp_path),
        proxy="",
        max_bytes=1,
        max_duration_seconds=1,
        max_seconds=30,
        page_seconds=30,
        max_memory_bytes=1 << 30,
    )

    names = set(fetch_apart.fetch_apart(order, lambda _count: None).split())

    assert {"PATH", "PYTHONPATH", "HOME"} <= names
    assert not {name for name in names if "AWS" in name or "KEY" in name}


def test_ftp_on_a_page_is_not_followed_past_the_guard(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"ftp://localhost:{server.getsockname()[1]}/a.mp4"
        page = f"<html><body><video src='{address}'></video></body></html>".encode()
        assert _site_failure(Reply(body=page, headers={"Content-Type": "text/html"}), tmp_path).code in SOURCE_CODES
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_radio_station_of_the_old_kind_is_called_live(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def play() -> None:
            with server.accept()[0] as listener:
                listener.recv(4_096)
                listener.sendall(b"ICY 200 OK\r\nicy-name: Radio\r\n\r\n" + bytes(1_000))

        thread = threading.Thread(target=play)
        thread.start()
        with pytest.raises(JobFailure) as caught:
            Fetcher(LOCAL).fetch(f"http://127.0.0.1:{server.getsockname()[1]}/;stream.mp3", tmp_path)
        thread.join()

    assert caught.value.code == "source_is_live"


@pytest.mark.parametrize("line", ["http://ours.example.com:{port}/1.ts", "file:///etc/passwd"])
def test_what_a_pages_playlist_points_to_is_guarded_too(line: str, tmp_path: Path) -> None:
    """yt-dlp fetches the parts of a playlist by itself; each of its connections passes the guard."""

    def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    connector = GuardedConnector(allow_loopback=True, resolve=resolve)
    with site(lambda _path: Reply(body=_mp3())) as canary:
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:5", "#EXTINF:5,", line.format(port=canary.port), "#EXT-X-ENDLIST"]
        playlist = Reply(body="\n".join(lines).encode(), headers={"Content-Type": "application/vnd.apple.mpegurl"})
        page = Reply(body=b"<html><video src='/a.m3u8'></video></html>", headers={"Content-Type": "text/html"})
        with site(lambda path: playlist if path == "/a.m3u8" else page) as running:
            with pytest.raises(JobFailure) as caught:
                Fetcher(LOCAL, connector).fetch(running.url("/talk"), tmp_path)
            assert ("GET", "/a.m3u8") in running.requests

    assert canary.requests == []
    assert caught.value.code in SOURCE_CODES


def test_cookies_come_from_the_environment_or_a_file_and_reach_the_site(tmp_path: Path) -> None:
    cookies = "# Netscape HTTP Cookie File\nlocalhost.local\tFALSE\t/\tFALSE\t2147483647\tsession\tabc\n"
    (tmp_path / "cookies.txt").write_text(cookies)

    from_text = FetchSettings.from_environment({"SOURCE_COOKIES": cookies})
    from_file = FetchSettings.from_environment({"SOURCE_COOKIES_FILE": str(tmp_path / "cookies.txt")})

    assert from_text.cookies == from_file.cookies == cookies
    assert "abc" not in repr(from_text)
    order = SiteOrder(
        url="x",
        folder=str(tmp_path / "work"),
        proxy="http://127.0.0.1:1",
        cookies=cookies,
        max_bytes=1,
        max_duration_seconds=1,
        max_seconds=1,
        page_seconds=1,
        max_memory_bytes=1 << 30,
    )
    (tmp_path / "work").mkdir()
    with YoutubeDL(fetch_site._options(order, lambda _count: None)) as downloader:
        assert [(cookie.name, cookie.value) for cookie in downloader.cookiejar] == [("session", "abc")]
    assert (tmp_path / "work" / "cookies.txt").stat().st_mode & 0o077 == 0


def test_the_address_of_a_private_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFailure) as caught:
        Fetcher(FetchSettings()).fetch("http://127.0.0.1:9/a.mp3", tmp_path)

    assert caught.value.code == "source_forbidden"


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", True),
        ("https://youtu.be/dQw4w9WgXcQ", True),
        ("https://vimeo.com/76979871", True),
        ("https://soundcloud.com/artist/track", True),
        ("https://example.com/podcast.mp3", False),
    ],
)
def test_sites_are_told_from_files(url: str, *, known: bool) -> None:
    assert fetch_site.is_known_site(url) is known


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ExtractorError("Sign in to confirm you’re not a bot. Use --cookies"), "source_blocked"),  # noqa: RUF001 - as YouTube writes it
        (DownloadError("HTTP Error 429: Too Many Requests"), "source_blocked"),
        (ExtractorError("Private video. Sign in if you've been granted access"), "source_forbidden"),
        (ExtractorError("This video is available to this channel's members-only"), "source_forbidden"),
        (GeoRestrictedError("The uploader has not made this video available in your country"), "source_forbidden"),
        (DownloadError("HTTP Error 403: Forbidden"), "source_forbidden"),
        (ExtractorError("This video is DRM protected"), "source_forbidden"),
        (ExtractorError("Video unavailable. This video has been removed by the uploader"), "source_not_found"),
        (DownloadError("HTTP Error 404: Not Found"), "source_not_found"),
        (ExtractorError("This live event will begin in 3 hours."), "source_is_live"),
        (DownloadError("The read operation timed out"), "source_timeout"),
        (UnsupportedError("x"), "source_not_media"),
        (DownloadError("ERROR: [youtube] paid404xDRM: Unable to extract the player"), "source_not_media"),
        (DownloadError("ERROR: [site:user] 1403: HTTP Error 404: Not Found"), "source_not_found"),
        (ExtractorError("something nobody has seen before"), "source_not_media"),
    ],
)
def test_what_sites_say_becomes_a_code_and_a_next_step(error: Exception, code: str) -> None:
    failure = fetch_site._failure(error)

    assert failure.code == code
    assert failure.message.endswith(".")


@pytest.mark.parametrize(
    ("info", "code"),
    [
        ({"_type": "playlist", "entries": []}, "source_is_playlist"),
        ({"_type": "multi_video"}, "source_is_playlist"),
        ({"is_live": True}, "source_is_live"),
        ({"live_status": "is_upcoming"}, "source_is_live"),
        ({"duration": 13 * 3600}, "source_too_long"),
        (None, "source_not_media"),
    ],
)
def test_playlists_live_streams_and_long_ones_are_refused_by_name(info: dict[str, Any] | None, code: str) -> None:
    with pytest.raises(JobFailure) as caught:
        fetch_site._check(info, 12 * 3600)

    assert caught.value.code == code
