package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	protocol = "relay-peer/2" // the callee's verdict, then what the peers like: here, lines of text
	accepted = "accepted\n"
	patience = time.Minute // for a verdict or an answer, which may be a person's
	// Bytes of the line with which a callee accepts or refuses.
	maxVerdict = 64
)

// calleeTLS accepts any certificate, because no authority vouches for peers. The handshake proves the caller's key, and the
// tracker says whose certificate it is.
func (p *peer) calleeTLS() *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{p.identity},
		NextProtos:             []string{protocol},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // without resumed sessions, each caller proves its key again
	}
}

// callerTLS accepts only the certificate that the tracker names, before anything is sent. InsecureSkipVerify skips the checks
// of authority and name, which mean nothing here; the handshake still proves the key.
func (p *peer) callerTLS(callee broadcast) *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{p.identity},
		NextProtos:         []string{protocol},
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if fingerprintOf(state.PeerCertificates[0].Raw) != callee.Fingerprint {
				return fmt.Errorf("the peer that answered is not %s", callee.Email)
			}
			return nil
		},
	}
}

func (p *peer) accept(listener net.Listener) {
	room := make(chan struct{}, 64)
	for {
		room <- struct{}{}
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		go func() {
			p.serve(connection.(*tls.Conn))
			connection.Close()
			<-room
		}()
	}
}

func (p *peer) serve(connection *tls.Conn) {
	caller, err := p.identify(connection)
	if err != nil {
		// Nothing is read from a caller that the tracker does not know.
		fmt.Printf("refused a caller from %s: %v\n", connection.RemoteAddr(), err)
		return
	}
	fmt.Println(caller.Email, "called")
	fmt.Fprint(connection, accepted)
	for lines := bufio.NewScanner(connection); lines.Scan(); { // a line of more than 64 KiB ends the call
		fmt.Printf("%s: %q\n", caller.Email, lines.Text()) // quoted: it may contain terminal escape sequences
		fmt.Fprintf(connection, "%s has read %q\n", p.email, lines.Text())
	}
}

func (p *peer) identify(connection *tls.Conn) (broadcast, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := connection.HandshakeContext(ctx); err != nil {
		return broadcast{}, err
	}
	caller, err := p.lookup("fingerprint", fingerprintOf(connection.ConnectionState().PeerCertificates[0].Raw))
	if err != nil {
		reason := "unavailable"
		var refusal *trackerError
		if errors.As(err, &refusal) && refusal.Code == "peer_not_found" {
			reason = "not_online"
		}
		fmt.Fprintln(connection, "refused", reason)
	}
	return caller, err
}

func (p *peer) call(email, text string) error {
	// Peers accept calls only from those online, so `listen` has to be running too.
	if _, err := p.ask("GET", "/broadcast/ready", nil, nil); err != nil {
		return err
	}
	callee, err := p.lookup("email", email)
	if err != nil {
		return err
	}
	connection, err := p.connect(callee)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewReaderSize(io.LimitReader(connection, bufio.MaxScanTokenSize), maxVerdict)
	// Nothing is sent before the callee has accepted.
	verdict, err := lines.ReadSlice('\n')
	if reason, isRefused := strings.CutPrefix(string(verdict), "refused "); isRefused {
		return fmt.Errorf("%s refused the call: %q", email, strings.TrimSpace(reason))
	} else if err != nil {
		return fmt.Errorf("%s did not say whether it accepts the call: %w", email, err)
	} else if string(verdict) != accepted {
		return fmt.Errorf("%s did not say whether it accepts the call", email)
	}
	fmt.Printf("connected to %s at %s\n", email, connection.RemoteAddr())
	connection.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(connection, text); err != nil {
		return err
	}
	answer, err := lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", email, err)
	}
	fmt.Printf("%s: %q\n", email, strings.TrimSpace(answer))
	return nil
}

// connect tries the peer's addresses in turn. (They could also be raced: RFC 8305.)
func (p *peer) connect(callee broadcast) (net.Conn, error) {
	dialer := tls.Dialer{Config: p.callerTLS(callee)}
	failures := []error{fmt.Errorf("could not reach %s", callee.Email)}
	for _, address := range callee.Addresses {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(callee.Port)))
		cancel()
		if err == nil {
			return connection, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", address, err))
	}
	return nil, errors.Join(failures...)
}
