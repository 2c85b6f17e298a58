#!/usr/bin/env python3
"""A peer of a Relay Tracker: `listen` stays online and accepts calls, `call EMAIL TEXT` sends a line to another peer."""

import argparse
import os
import signal
import socket
import ssl
import sys
import threading
import time

import peers
from identity import create_identity, fingerprint_of
from tracker import FAILURES, Tracker


def listen(tracker, email, identity):
    dual = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
    server = socket.create_server(("", 0), **dual)
    port = server.getsockname()[1]
    pause = tracker.announce(port)
    print(f"{email} is online at port {port}")
    threading.Thread(target=watch, args=(tracker,), daemon=True).start()
    threading.Thread(target=peers.accept, args=(tracker, email, identity, server), daemon=True).start()
    try:
        while True:
            time.sleep(pause)
            try:
                pause = tracker.announce(port)
            except FAILURES as error:
                if not getattr(error, "is_temporary", True):
                    raise  # for example, the certificate was revoked or has expired
                pause = getattr(error, "retry_after", 30)
                print(f"could not announce, retrying in {pause} s: {error}")
    finally:
        tracker.request("DELETE", "/broadcast/ready")  # otherwise others would call in vain until the hour is over


def watch(tracker):
    """Follows who is online: first everyone, then each change."""
    while True:
        try:
            for event, data in tracker.events():
                if event == "list":
                    print("online now: " + (", ".join(peer["email"] for peer in data) or "nobody else"))
                elif event in ("online", "offline"):
                    print(f"{event}: {data['email']}")
        except FAILURES as error:
            print(f"event stream lost, reconnecting: {error}")
        time.sleep(5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracker", required=True, metavar="URL")
    parser.add_argument("--ca", metavar="FILE", help="PEM of the tracker's authority, unless it is a public one")
    parser.add_argument("--email", required=True)
    parser.add_argument("--dir", required=True, help="where the key and certificate are kept")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("listen")
    calling = verbs.add_parser("call")
    calling.add_argument("peer", metavar="EMAIL")
    calling.add_argument("text", metavar="TEXT")
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # even if it is not a terminal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # runs the `finally` block
    identity = os.path.join(args.dir, "cert.pem"), os.path.join(args.dir, "key.pem")
    try:
        if not os.path.exists(identity[0]):
            create_identity(*identity, args.email)
        with open(identity[0]) as file:
            certificate = file.read()
        tracker = Tracker(args.tracker, args.ca, identity)
        tracker.register(args.email, certificate)
        print(f"{args.email} is registered with {fingerprint_of(ssl.PEM_cert_to_DER_cert(certificate))}")
        if args.verb == "listen":
            listen(tracker, args.email, identity)
        else:
            peers.call(tracker, identity, args.peer, args.text)
    except FAILURES as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
