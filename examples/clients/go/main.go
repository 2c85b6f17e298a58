// A peer of a Relay Tracker: `listen` stays online and accepts calls, `call EMAIL TEXT` sends a line to another peer.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func (p *peer) listen() error {
	listener, err := tls.Listen("tcp", ":0", p.calleeTLS())
	if err != nil {
		return err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	pause, err := p.announce(port)
	if err != nil {
		return err
	}
	fmt.Printf("%s is online at port %d\n", p.email, port)
	go p.watch()
	go p.accept(listener)
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	for {
		select {
		case <-interrupt:
			_, err := p.ask("DELETE", "/broadcast/ready", nil, nil) // otherwise others would call in vain until the hour is over
			return err
		case <-time.After(pause):
		}
		pause, err = p.announce(port)
		var refusal *trackerError
		if errors.As(err, &refusal) && refusal.Status < 500 && refusal.Status != http.StatusTooManyRequests {
			return err // for example, the certificate was revoked or has expired
		} else if err != nil {
			pause = 30 * time.Second
			if refusal != nil {
				pause = refusal.RetryAfter
			}
			fmt.Printf("could not announce, retrying in %v: %v\n", pause, err)
		}
	}
}

// watch follows who is online: first everyone, then each change.
func (p *peer) watch() {
	for {
		err := p.events(func(name string, data []byte) error {
			switch name {
			case "list":
				var peers []broadcast
				if err := json.Unmarshal(data, &peers); err != nil {
					return err
				}
				emails := make([]string, len(peers))
				for i, peer := range peers {
					emails[i] = peer.Email
				}
				if len(emails) == 0 {
					emails = []string{"nobody else"}
				}
				fmt.Println("online now:", strings.Join(emails, ", "))
			case "online", "offline":
				var peer broadcast
				if err := json.Unmarshal(data, &peer); err != nil {
					return err
				}
				fmt.Printf("%s: %s\n", name, peer.Email)
			}
			return nil
		})
		fmt.Println("event stream lost, reconnecting:", err)
		time.Sleep(5 * time.Second)
	}
}

func run() error {
	tracker := flag.String("tracker", "", "`URL` of the tracker")
	ca := flag.String("ca", "", "`PEM` of the tracker's authority, unless it is a public one")
	email := flag.String("email", "", "this peer's e-mail `address`")
	dir := flag.String("dir", "", "`folder` where the key and certificate are kept")
	flag.Parse()
	isCall := flag.Arg(0) == "call" && flag.NArg() == 3
	if *tracker == "" || *email == "" || *dir == "" || !isCall && flag.Arg(0) != "listen" {
		return errors.New("usage: relay-client -tracker URL [-ca PEM] -email ADDRESS -dir FOLDER listen | call EMAIL TEXT")
	}
	certFile, keyFile := filepath.Join(*dir, "cert.pem"), filepath.Join(*dir, "key.pem")
	if _, err := os.Stat(certFile); errors.Is(err, os.ErrNotExist) {
		if err := createIdentity(certFile, keyFile, *email); err != nil {
			return err
		}
	}
	identity, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	location, err := url.Parse(*tracker)
	if err != nil {
		return err
	}
	// Every handshake with the tracker proves the key: that is how it knows us.
	config := &tls.Config{Certificates: []tls.Certificate{identity}}
	if *ca != "" {
		authority, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authority) {
			return fmt.Errorf("there is no certificate in %s", *ca)
		}
	}
	p := &peer{*email, location, &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, identity}
	if err := p.register(); err != nil {
		return err
	}
	fmt.Printf("%s is registered with %s\n", *email, fingerprintOf(identity.Certificate[0]))
	if isCall {
		return p.call(flag.Arg(1), flag.Arg(2))
	}
	return p.listen()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
