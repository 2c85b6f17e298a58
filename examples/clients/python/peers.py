"""Calls between peers: TLS in which both sides prove their certificates, then lines of text."""

import json
import socket
import ssl
import sys
import threading

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from identity import fingerprint_of
from tracker import FAILURES, TIMEOUT

PROTOCOL = b"relay-peer/2"  # the callee's verdict, then what the peers like: here, lines of text
ACCEPTED = b"accepted\n"
PATIENCE = 60  # seconds for a verdict or an answer, which may be a person's
MAX_VERDICT = 64  # bytes of the line with which a callee accepts or refuses
MAX_LINE = 64 * 1024


def accept(tracker, email, identity, server):
    # Python's own ssl refuses a client's certificate that no authority vouches for. pyOpenSSL leaves that to us, and
    # still makes the caller prove its key; the tracker says whether the certificate is a peer's.
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_file(identity[0])
    context.use_privatekey_file(identity[1])
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # without resumed sessions, each caller proves its key again
    context.set_options(SSL.OP_NO_TICKET)
    context.set_alpn_select_callback(choose_protocol)
    room = threading.BoundedSemaphore(64)

    def serve(sock, address):
        with sock:
            serve_caller(tracker, email, SSL.Connection(context, sock), address)
        room.release()

    while True:
        room.acquire()
        sock, address = server.accept()
        threading.Thread(target=serve, args=(sock, address[0]), daemon=True).start()


def choose_protocol(_, offers):
    if PROTOCOL not in offers:
        raise ConnectionError(f"the caller does not speak {PROTOCOL.decode()}")
    return PROTOCOL


def serve_caller(tracker, email, caller, address):
    timeout = threading.Timer(TIMEOUT, caller.sock_shutdown, [socket.SHUT_RDWR])
    timeout.start()
    try:
        caller.set_accept_state()
        caller.do_handshake()
        timeout.cancel()
        peer = identify(tracker, caller)
    except (*FAILURES, SSL.Error) as error:
        # Nothing is read from a caller that the tracker does not know.
        return print(f"refused a caller from {address}: {error}")
    finally:
        timeout.cancel()
    print(f"{peer} called")
    received = b""
    try:
        caller.sendall(ACCEPTED)
        while len(received) < MAX_LINE:
            received += caller.recv(4096)
            *lines, received = received.split(b"\n")
            for line in lines:
                text = json.dumps(line.decode(errors="replace"))  # quoted: it may contain terminal escapes
                print(f"{peer}: {text}")
                caller.sendall(f"{email} has read {text}\n".encode())
    except (OSError, SSL.Error):
        pass  # the caller has gone


def identify(tracker, caller):
    der = caller.get_peer_certificate().to_cryptography().public_bytes(serialization.Encoding.DER)
    try:
        return tracker.lookup(fingerprint=fingerprint_of(der))["email"]
    except FAILURES as error:
        reason = "not_online" if getattr(error, "code", None) == "peer_not_found" else "unavailable"
        caller.sendall(f"refused {reason}\n".encode())
        caller.shutdown()
        raise


def call(tracker, identity, email, text):
    tracker.request("GET", "/broadcast/ready")  # peers accept calls only from those online, so `listen` must be running
    with connect(tracker.lookup(email=email), identity) as tls:
        tls.settimeout(PATIENCE)
        lines = tls.makefile("rb")
        # Nothing is sent before the callee has accepted.
        verdict = lines.readline(MAX_VERDICT)
        if verdict != ACCEPTED:
            word, _, reason = verdict.decode(errors="replace").strip().partition(" ")
            if word == "refused":
                sys.exit(f"error: {email} refused the call: {json.dumps(reason)}")
            sys.exit(f"error: {email} did not say whether it accepts the call")
        print(f"connected to {email} at {tls.getpeername()[0]}")
        tls.sendall(text.encode() + b"\n")
        answer = lines.readline(MAX_LINE)
    if not answer:
        sys.exit(f"error: {email} closed the connection without an answer")
    print(f"{email}: {json.dumps(answer.decode(errors='replace').strip())}")


def connect(peer, identity):
    """Tries the peer's addresses in turn. (They could also be raced: RFC 8305.)"""
    context = ssl.create_default_context()
    # No authority vouches for peers, and names mean nothing: the fingerprint decides, before anything is sent.
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
            reasons.append(f"the peer that answered at {address} is not {peer['email']}")
        except OSError as error:
            reasons.append(f"{address}: {error}")
    raise ConnectionError(f"could not reach {peer['email']}: {'; '.join(reasons)}")
