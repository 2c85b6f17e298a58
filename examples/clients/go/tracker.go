package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	timeout = 10 * time.Second // for an answer or a handshake
	silence = time.Minute      // the event stream sends a comment every 25 s
	// A documentation address: nobody has it, but it leads to the internet.
	elsewhere = "192.0.2.1"
)

type broadcast struct {
	Email       string   `json:"email"`
	Port        int      `json:"port"`
	Addresses   []string `json:"addresses"`
	Fingerprint string   `json:"fingerprint"`
}

type trackerError struct {
	Message    string `json:"error"`
	Code       string `json:"code"`
	Status     int
	RetryAfter time.Duration
}

func (e *trackerError) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

type peer struct {
	email    string
	tracker  *url.URL
	http     *http.Client
	identity tls.Certificate
}

// request returns the tracker's answer, unless it is an error. The caller closes its body.
func (p *peer) request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var payload bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&payload).Encode(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, p.tracker.JoinPath("/api/relay").String()+path, &payload)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := p.http.Do(request)
	if err != nil || response.StatusCode < 400 {
		return response, err
	}
	defer response.Body.Close()
	retryAfter, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	refusal := &trackerError{Status: response.StatusCode, RetryAfter: time.Duration(max(retryAfter, 30)) * time.Second}
	if err := json.NewDecoder(response.Body).Decode(refusal); err != nil {
		return nil, fmt.Errorf("the server that answered with status %d is not a tracker", response.StatusCode)
	}
	return nil, refusal
}

// ask makes a call and reads its answer into `answer`.
func (p *peer) ask(method, path string, body, answer any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	response, err := p.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if answer != nil {
		err = json.NewDecoder(response.Body).Decode(answer)
	}
	return response.Header, err
}

func (p *peer) register() error {
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.identity.Certificate[0]})
	var answer struct {
		Verification string `json:"email_verification"`
	}
	_, err := p.ask("POST", "/register", map[string]string{"email": p.email, "certificate": string(certificate)}, &answer)
	var refusal *trackerError
	if errors.As(err, &refusal) && refusal.Code == "already_registered" {
		return nil // registering the same pair again does no harm
	}
	if answer.Verification == "pending" {
		fmt.Println("now open the link that was sent to", p.email)
	}
	return err
}

func (p *peer) lookup(by, value string) (found broadcast, err error) {
	_, err = p.ask("GET", "/broadcast/lookup?"+url.Values{by: {value}}.Encode(), nil, &found)
	return found, err
}

// ownAddress returns which of our addresses leads to that host. Connecting a UDP socket sends nothing.
func ownAddress(host string) (net.IP, error) {
	probe, err := net.Dial("udp", net.JoinHostPort(host, "443"))
	if err != nil {
		return nil, err
	}
	defer probe.Close()
	return probe.LocalAddr().(*net.UDPAddr).IP, nil
}

func (p *peer) announce(port int) (again time.Duration, err error) {
	own, err := ownAddress(p.tracker.Hostname())
	if err == nil && own.IsLoopback() {
		own, err = ownAddress(elsewhere) // the tracker is on this machine
	}
	if err != nil {
		return 0, err
	}
	// 0.0.0.0 stands for the address at which the tracker sees us, perhaps a router's. It leaves that out if it is loopback.
	addresses := []string{own.String(), "0.0.0.0"}
	header, err := p.ask("POST", "/broadcast/ready", map[string]any{"port": port, "addresses": addresses}, nil)
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.Atoi(header.Get("Reannounce-After"))
	return time.Duration(seconds) * time.Second, err
}

// events reads who is online, as Server-Sent Events, until the stream ends.
func (p *peer) events(told func(name string, data []byte) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watchdog := time.AfterFunc(silence, cancel)
	response, err := p.request(ctx, "GET", "/broadcast/events", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	name, data := "", []string{}
	for lines := bufio.NewReader(response.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		watchdog.Reset(silence)
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case field == "event":
			name = value
		case field == "data":
			data = append(data, value) // an event may have several of these lines
		case line == "" && len(data) > 0:
			if err := told(name, []byte(strings.Join(data, "\n"))); err != nil {
				return err
			}
			name, data = "", nil
		}
	}
}
