module example.com/relay-client

go 1.24
