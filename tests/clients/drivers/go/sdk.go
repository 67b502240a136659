// The official Go SDK, in the mode that MODE names: legacy (sessions) or auto (its default, 2026-07-28).
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type peer struct {
	session *mcp.ClientSession
}

func connect(ctx context.Context, url string, heard *Heard) (Peer, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "matrix", Version: "1.0.0"}, &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "none", Content: &mcp.TextContent{Text: reply}}, nil
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"colour": colour}}, nil
		},
		LoggingMessageHandler: func(_ context.Context, message *mcp.LoggingMessageRequest) {
			heard.log(fmt.Sprint(message.Params.Data))
		},
		ProgressNotificationHandler: func(_ context.Context, message *mcp.ProgressNotificationClientRequest) {
			heard.report(message.Params.Progress)
		},
	})
	client.AddRoots(&mcp.Root{URI: root, Name: "matrix"})
	options := &mcp.ClientSessionOptions{}
	if os.Getenv("MODE") == "legacy" {
		options.ProtocolVersion = "2025-11-25"
	}
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url}, options)
	if err != nil {
		return nil, err
	}
	return &peer{session}, nil
}

func (p *peer) Version() string {
	return p.session.InitializeResult().ProtocolVersion
}

func (p *peer) KeepsSession() bool {
	return os.Getenv("MODE") == "legacy"
}

func (p *peer) Lacks() map[string]string {
	return map[string]string{}
}

func (p *peer) Offered(ctx context.Context) (map[string]map[string]bool, error) {
	listed, err := p.session.ListTools(ctx, nil)
	if err != nil {
		return nil, err
	}
	offered := map[string]map[string]bool{}
	for _, tool := range listed.Tools {
		offered[tool.Name] = map[string]bool{}
		schema, _ := tool.InputSchema.(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		for name := range properties {
			offered[tool.Name][name] = true
		}
	}
	return offered, nil
}

func (p *peer) Call(ctx context.Context, tool string, args arguments) (string, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: args, Meta: mcp.Meta{}}
	params.SetProgressToken(newToken())
	if !p.KeepsSession() {
		params.Meta[mcp.MetaKeyLogLevel] = "info"
	}
	result, err := p.session.CallTool(ctx, params)
	if err != nil {
		return "", err
	}
	return textOf(result, result.IsError)
}

func (p *peer) SetLevel(ctx context.Context) error {
	if !p.KeepsSession() {
		return nil
	}
	return p.session.SetLoggingLevel(ctx, &mcp.SetLoggingLevelParams{Level: "info"})
}

func (p *peer) Close() error {
	return p.session.Close()
}

func main() {
	drive(connect)
}
