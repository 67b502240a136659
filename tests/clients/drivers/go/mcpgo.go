// mcp-go's client, in the mode that MODE names: legacy (sessions) or auto (its default, 2026-07-28).
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

type answering struct{}

func (answering) ListRoots(context.Context, mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	return &mcp.ListRootsResult{Roots: []mcp.Root{{URI: root, Name: "matrix"}}}, nil
}

func (answering) CreateMessage(context.Context, mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	message := mcp.SamplingMessage{Role: mcp.RoleAssistant, Content: mcp.NewTextContent(reply)}
	return &mcp.CreateMessageResult{SamplingMessage: message, Model: "none"}, nil
}

func (answering) Elicit(context.Context, mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	content := map[string]any{"colour": colour}
	response := mcp.ElicitationResponse{Action: mcp.ElicitationResponseActionAccept, Content: content}
	return &mcp.ElicitationResult{ElicitationResponse: response}, nil
}

type peer struct {
	client  *client.Client
	version string
}

func isLegacy() bool {
	return os.Getenv("MODE") == "legacy"
}

func connect(ctx context.Context, url string, heard *Heard) (Peer, error) {
	options := []client.ClientOption{
		client.WithRootsHandler(answering{}),
		client.WithSamplingHandler(answering{}),
		client.WithElicitationHandler(answering{}),
	}
	if isLegacy() {
		options = append(options, client.WithProtocolVersion("2025-11-25"))
	}
	carried, err := transport.NewStreamableHTTP(url)
	if err != nil {
		return nil, err
	}
	made := client.NewClient(carried, options...)
	made.OnNotification(func(message mcp.JSONRPCNotification) {
		fields := message.Params.AdditionalFields
		switch message.Method {
		case "notifications/message":
			heard.log(fmt.Sprint(fields["data"]))
		case "notifications/progress":
			if value, isNumber := fields["progress"].(float64); isNumber {
				heard.report(value)
			}
		}
	})
	if err := made.Start(ctx); err != nil {
		return nil, err
	}
	request := mcp.InitializeRequest{}
	request.Params.ClientInfo = mcp.Implementation{Name: "matrix", Version: "1.0.0"}
	initialized, err := made.Initialize(ctx, request)
	if err != nil {
		return nil, err
	}
	return &peer{made, initialized.ProtocolVersion}, nil
}

func (p *peer) Version() string {
	return p.version
}

func (p *peer) KeepsSession() bool {
	return isLegacy()
}

func (p *peer) Lacks() map[string]string {
	return map[string]string{}
}

func (p *peer) Offered(ctx context.Context) (map[string]map[string]bool, error) {
	listed, err := p.client.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		return nil, err
	}
	offered := map[string]map[string]bool{}
	for _, tool := range listed.Tools {
		data, err := json.Marshal(tool)
		if err != nil {
			return nil, err
		}
		var read struct {
			InputSchema struct {
				Properties map[string]any `json:"properties"`
			} `json:"inputSchema"`
		}
		if err := json.Unmarshal(data, &read); err != nil {
			return nil, err
		}
		offered[tool.Name] = map[string]bool{}
		for name := range read.InputSchema.Properties {
			offered[tool.Name][name] = true
		}
	}
	return offered, nil
}

func (p *peer) Call(ctx context.Context, tool string, args arguments) (string, error) {
	request := mcp.CallToolRequest{}
	request.Params.Name = tool
	request.Params.Arguments = map[string]any(args)
	request.Params.Meta = &mcp.Meta{ProgressToken: newToken()}
	if !isLegacy() {
		request.Params.Meta.SetLogLevel(mcp.LoggingLevelInfo)
	}
	result, err := p.client.CallTool(ctx, request)
	if err != nil {
		return "", err
	}
	return textOf(result, result.IsError)
}

func (p *peer) SetLevel(ctx context.Context) error {
	if !isLegacy() {
		return nil
	}
	request := mcp.SetLevelRequest{}
	request.Params.Level = mcp.LoggingLevelInfo
	return p.client.SetLevel(ctx, request)
}

func (p *peer) Close() error {
	return p.client.Close()
}

func main() {
	drive(connect)
}
