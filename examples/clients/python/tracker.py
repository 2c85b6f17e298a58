"""What a peer asks of the tracker. Each call proves the peer's key in its TLS handshake: that is how the tracker knows it."""

import http.client
import json
import socket
import ssl
from urllib.parse import urlencode, urlsplit

TIMEOUT = 10  # seconds for an answer
SILENCE = 60  # seconds; the event stream sends a comment every 25
ELSEWHERE = ("192.0.2.1", 443)  # a documentation address: nobody has it, but it leads to the internet


class TrackerError(Exception):
    def __init__(self, response):
        try:
            body = json.load(response)
            super().__init__(f"{body['error']} ({body['code']})")
            self.code = body["code"]
        except (ValueError, KeyError, TypeError):
            super().__init__(f"the server that answered with status {response.status} is not a tracker")
            self.code = None
        self.is_temporary = response.status == 429 or response.status >= 500
        self.retry_after = int(response.headers.get("Retry-After") or 30)


# Errors on the way to the tracker, and the errors that it answers with.
FAILURES = (TrackerError, OSError, http.client.HTTPException, ValueError)


class Tracker:
    def __init__(self, url, ca, identity):
        url = urlsplit(url)
        self.address = (url.hostname, url.port or 443)
        self.context = ssl.create_default_context(cafile=ca)  # without a file: the system's authorities
        self.context.load_cert_chain(*identity)  # every handshake proves the key: that is how the tracker knows us

    def request(self, method, path, body=None, timeout=TIMEOUT):
        connection = http.client.HTTPSConnection(*self.address, context=self.context, timeout=timeout)
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, "/api/relay" + path, body and json.dumps(body), headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise TrackerError(response)
        return response

    def register(self, email, certificate):
        try:
            answer = json.load(self.request("POST", "/register", {"email": email, "certificate": certificate}))
            if answer.get("email_verification") == "pending":
                print(f"now open the link that was sent to {email}")
        except TrackerError as error:
            if error.code != "already_registered":  # registering the same pair again does no harm
                raise

    def lookup(self, **by):
        return json.load(self.request("GET", "/broadcast/lookup?" + urlencode(by)))

    def events(self):
        """Who is online, as Server-Sent Events: yields the name and data of each."""
        name, data = "", []
        for line in self.request("GET", "/broadcast/events", timeout=SILENCE):
            field, _, value = line.decode().rstrip("\r\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)  # an event may have several of these lines
            elif line.strip() == b"" and data:
                yield name, json.loads("\n".join(data))
                name, data = "", []

    def announce(self, port):
        own = own_address(self.address)
        if own in ("127.0.0.1", "::1"):
            own = own_address(ELSEWHERE)  # the tracker is on this machine
        # 0.0.0.0 stands for the address at which the tracker sees us, perhaps a router's. It leaves that out if it is loopback.
        response = self.request("POST", "/broadcast/ready", {"port": port, "addresses": [own, "0.0.0.0"]})
        return int(response.headers["Reannounce-After"])


def own_address(destination):
    """Which of our addresses leads there. Connecting a UDP socket sends nothing."""
    family, kind, _, _, address = socket.getaddrinfo(*destination, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        return probe.getsockname()[0]
