"""A session of the app without a browser: Streamlit's WebSocket protocol, as its page speaks it."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

FINISHED, FRAGMENT = ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
LARGEST = 64 * 2**20


@dataclass
class Page:
    """What the server has sent of one run of a page."""

    buttons: dict[str, str] = field(default_factory=dict)
    """Label -> id."""

    texts: list[str] = field(default_factory=list)
    """Headings and paragraphs."""

    errors: list[str] = field(default_factory=list)
    """Exceptions that a user would see."""

    fragments: dict[str, float] = field(default_factory=dict)
    """Fragment that runs by itself -> seconds between."""

    seconds: float = 0.0
    """From asking for it to its end."""


class Session:
    """One user: a connection, and the page that it shows."""

    def __init__(self, address: str) -> None:
        self._url = address.replace("http", "ws", 1) + "_stcore/stream"
        self._query = ""
        self._name = ""
        self._hashes: dict[str, str] = {}
        self.page = Page()

    async def __aenter__(self) -> "Session":
        self._socket = await websockets.connect(
            self._url, subprotocols=["streamlit"], max_size=LARGEST, open_timeout=60
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()

    async def open(self, path: str, timeout_s: float) -> Page:
        """Go to a page, `name?query`; what it shows once its script has ended."""
        self._name, _, self._query = path.partition("?")
        return await self._rerun(timeout_s)

    async def click(self, label: str, timeout_s: float) -> Page:
        """Click a button of the page."""
        message = self._message()
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.trigger_value = self.page.buttons[label], True
        return await self._rerun(timeout_s, message)

    async def wait_for(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """Let the page's own clocks run until a text matches. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                for text in self.page.texts:
                    if found := re.search(pattern, text):
                        return found
                if not self.page.fragments:
                    raise RuntimeError(f"nothing to wait for; the page says {self.page.texts[:8]}")
                fragment, pause = next(iter(self.page.fragments.items()))
                await asyncio.sleep(pause)
                message = self._message()
                message.rerun_script.fragment_id = fragment
                message.rerun_script.is_auto_rerun = True
                await self._socket.send(message.SerializeToString())
                await self._receive(self.page)

    def _message(self) -> BackMsg:
        message = BackMsg()
        message.rerun_script.query_string = self._query
        if self._name in self._hashes:
            message.rerun_script.page_script_hash = self._hashes[self._name]
        else:
            message.rerun_script.page_name = self._name
        return message

    async def _rerun(self, timeout_s: float, message: BackMsg | None = None) -> Page:
        start = time.perf_counter()
        self.page = Page()
        async with asyncio.timeout(timeout_s):
            await self._socket.send((message or self._message()).SerializeToString())
            while await self._receive(self.page) == FRAGMENT:  # of a clock of the page before
                pass
        self.page.seconds = time.perf_counter() - start
        return self.page

    async def _receive(self, page: Page) -> int:
        """Messages until a script has ended; how it did."""
        while True:
            message = ForwardMsg.FromString(await self._socket.recv())
            kind = message.WhichOneof("type")
            if kind == "new_session" and not message.metadata.run.fragment_ids:
                seconds, self.page = page.seconds, Page()
                page = self.page
                page.seconds = seconds
            elif kind == "navigation":
                pages = message.navigation.app_pages
                self._hashes = {one.url_pathname: one.page_script_hash for one in pages}
                (first,) = (one.page_script_hash for one in pages if one.is_default)
                self._hashes[""] = first
            elif kind == "delta":
                _read(page, message.delta)
            elif kind == "auto_rerun":
                page.fragments[message.auto_rerun.fragment_id] = message.auto_rerun.interval
            elif kind == "script_finished":
                status = message.script_finished
                if status in (FINISHED, FRAGMENT):
                    return int(status)
                if status == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                    page.errors.append("a script could not be compiled")
                    return int(status)


def _read(page: Page, delta: Any) -> None:
    element = delta.new_element
    kind = element.WhichOneof("type")
    if kind == "exception":
        page.errors.append(f"{element.exception.type}: {element.exception.message}")
    elif kind == "button":
        page.buttons[element.button.label] = element.button.id
    elif kind in ("heading", "markdown"):
        page.texts.append(re.sub(r"\\(.)", r"\1", getattr(element, kind).body))
