// Presents a certificate whose key it does not have: `forger CERTIFICATE ADDRESS` calls that address, sends a line and
// prints the answer; `forger CERTIFICATE` accepts calls on port 7777 and prints what callers send.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	text, _ := os.ReadFile(os.Args[1])
	block, _ := pem.Decode(text)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	config := &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}},
		NextProtos:         []string{"relay-peer/2"},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true,
	}
	if len(os.Args) > 2 {
		connection, err := tls.Dial("tcp", os.Args[2], config)
		if err == nil {
			fmt.Fprintln(connection, "a forged line")
			err = printLine(connection)
		}
		fmt.Println("the call failed:", err)
		return
	}
	listener, err := tls.Listen("tcp", ":7777", config)
	if err != nil {
		panic(err)
	}
	fmt.Println("listening")
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer connection.Close()
			fmt.Println("the call ended:", printLine(connection))
		}()
	}
}

func printLine(connection net.Conn) error {
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(connection).ReadString('\n')
	fmt.Print(line)
	return err
}
