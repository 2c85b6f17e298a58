"""Calls between peers: TLS on which both prove their certificates, and then lines of text."""

import json
import socket
import ssl
import sys
import threading

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from identity import fingerprint_of
from tracker import FAILURES, TIMEOUT

PROTOCOL = b"relay-peer/1"
PATIENCE = 60  # seconds for an answer, which a person may be writing
MAX_LINE = 64 * 1024


def accept(tracker, email, identity, server):
    # Python's own ssl refuses a client's certificate that no authority vouches for. pyOpenSSL leaves that to us, and
    # still has the caller prove its key; whether the certificate is a peer's, the tracker says.
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_file(identity[0])
    context.use_privatekey_file(identity[1])
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # with no session taken up, each caller proves its key anew
    context.set_options(SSL.OP_NO_TICKET)
    context.set_alpn_select_callback(lambda _, offers: PROTOCOL if PROTOCOL in offers else SSL.NO_OVERLAPPING_PROTOCOLS)
    room = threading.BoundedSemaphore(64)

    def serve(sock, address):
        with sock:
            serve_caller(tracker, email, SSL.Connection(context, sock), address)
        room.release()

    while True:
        room.acquire()
        sock, address = server.accept()
        threading.Thread(target=serve, args=(sock, address[0]), daemon=True).start()


def serve_caller(tracker, email, caller, address):
    timeout = threading.Timer(TIMEOUT, caller.sock_shutdown, [socket.SHUT_RDWR])
    timeout.start()
    try:
        caller.set_accept_state()
        caller.do_handshake()
        der = caller.get_peer_certificate().to_cryptography().public_bytes(serialization.Encoding.DER)
        peer = tracker.lookup(fingerprint=fingerprint_of(der))["email"]
    except (*FAILURES, SSL.Error) as error:
        # Nothing was read from it: whom the tracker does not know has nothing to say.
        return print(f"refused a caller from {address}: {error}")
    finally:
        timeout.cancel()
    print(f"{peer} has called")
    received = b""
    try:
        while len(received) < MAX_LINE:
            received += caller.recv(4096)
            *lines, received = received.split(b"\n")
            for line in lines:
                text = json.dumps(line.decode(errors="replace"))  # quoted: it may hold what a terminal obeys
                print(f"{peer}: {text}")
                caller.sendall(f"{email} has read {text}\n".encode())
    except (OSError, SSL.Error):
        pass  # the caller has gone


def call(tracker, identity, email, text):
    tracker.request("GET", "/broadcast/ready")  # peers accept only who is online, so `listen` has to be running too
    with connect(tracker.lookup(email=email), identity) as tls:
        print(f"connected to {email} at {tls.getpeername()[0]}")
        tls.sendall(text.encode() + b"\n")
        tls.settimeout(PATIENCE)
        answer = tls.makefile("rb").readline(MAX_LINE)
    if not answer:
        sys.exit(f"error: {email} closed the connection without an answer")
    print(f"{email}: {json.dumps(answer.decode(errors='replace').strip())}")


def connect(peer, identity):
    """Tries the peer's addresses in turn. (They may also be raced: RFC 8305.)"""
    context = ssl.create_default_context()
    # No authority vouches for peers, and names say nothing: the fingerprint decides, before anything is sent.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(*identity)
    context.set_alpn_protocols([PROTOCOL.decode()])
    reasons = []
    for address in peer["addresses"]:
        try:
            tls = context.wrap_socket(socket.create_connection((address, peer["port"]), timeout=TIMEOUT))
            if fingerprint_of(tls.getpeercert(binary_form=True)) == peer["fingerprint"]:
                return tls
            tls.close()
            reasons.append(f"who answers at {address} is not {peer['email']}")
        except OSError as error:
            reasons.append(f"{address}: {error}")
    raise ConnectionError(f"{peer['email']} was not reached: {'; '.join(reasons)}")
