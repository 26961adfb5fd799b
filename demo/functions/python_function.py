# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""python_function.py NAME PORT: one of two functions on Python's http.server."""
import collections
import http.server
import json
import statistics
import sys


def report(event):
    """Aggregates numbers as a nightly report would."""
    items = event["items"] * 200
    return {"n": len(items), "mean": statistics.fmean(items), "deviation": statistics.pstdev(items)}


def words(event):
    """Counts words and bigrams of a text."""
    found = event["text"].lower().split()
    pairs = collections.Counter(zip(found, found[1:]))
    return {"words": collections.Counter(found).most_common(3), "pairs": len(pairs)}


FUNCTIONS = {"report": report, "words": words}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    function = None
    wbufsize = -1  # head and body in one segment

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(Handler.function(event)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in FUNCTIONS:
        sys.exit(f"usage: python_function.py {'|'.join(FUNCTIONS)} PORT")
    Handler.function = staticmethod(FUNCTIONS[sys.argv[1]])
    http.server.ThreadingHTTPServer.request_queue_size = 128
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()


main()
