"""An OpenAI-compatible server on loopback for tests: real HTTP, with a function in place of a model."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = str | tuple[int, str] | dict[str, Any]
"""What is said, or a status and an error's message, or the whole of what comes back."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of more connections at once than wait here, some are reset


@contextmanager
def endpoint(answer: Callable[[Mapping[str, Any]], Answer]) -> Iterator[str]:
    """The base URL of a server that gives `answer` the body of each request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = answer(body)
            match said:
                case str():
                    status, record = 200, _completion(body, said)
                case dict():
                    status, record = 200, said
                case _:
                    status, record = said[0], _error(said[1])
            sent = json.dumps(record).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: Any) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}
