// A session that ends behind its client's back: lost URL, a line for what the client makes of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	url := os.Args[1]
	client := mcp.NewClient(&mcp.Implementation{Name: "lost", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: url}
	// The newest revision that has sessions.
	options := &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"}
	session, err := client.Connect(ctx, transport, options)
	if err != nil {
		fmt.Println("not connected:", err)
		os.Exit(1)
	}
	call := &mcp.CallToolParams{Name: "say_aside", Arguments: map[string]any{"first": 1, "last": 1}}
	_, err = session.CallTool(ctx, call)
	fmt.Println("before:", err)
	request, _ := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	request.Header.Set("Mcp-Session-Id", session.ID())
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Println("not ended:", err)
		os.Exit(1)
	}
	fmt.Println("ended:", answer.StatusCode)
	_, err = session.CallTool(ctx, call)
	fmt.Println("lost:", errors.Is(err, mcp.ErrSessionMissing))
}
