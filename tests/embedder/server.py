"""An embeddings service with a real model, as OpenAI defines it: `POST /v1/embeddings`. Says its URL on a line, listens on a free
port of 127.0.0.1, and ends with its standard input."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from model import Model

MODEL = "all-minilm-l6-v2"
MAX_BODY = 1 << 20
model = Model()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            return self.reply(413, {"error": {"message": "too large"}})
        body = self.rfile.read(length)
        if self.path != "/v1/embeddings":
            return self.reply(404, {"error": {"message": "no such endpoint"}})
        try:
            asked = json.loads(body)
            texts = asked["input"]
            texts = [texts] if isinstance(texts, str) else texts
            if asked["model"] != MODEL or not all(isinstance(text, str) and text for text in texts):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            return self.reply(400, {"error": {"message": "this is no request for embeddings"}})
        data = [
            {"object": "embedding", "index": index, "embedding": [float(x) for x in model.embed(text)]}
            for index, text in enumerate(texts)
        ]
        self.reply(200, {"object": "list", "data": data, "model": MODEL})

    def reply(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(0)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=end_with_input, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
server.serve_forever()
