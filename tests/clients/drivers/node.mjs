// The official TypeScript SDK 1.x: `Client` over `StreamableHTTPClientTransport`, or over the standard streams of the
// program that THROUGH names, which carries all on to the URL.

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport, getDefaultEnvironment } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";
import { COLOUR, REPLY, ROOT, main, textOf } from "./node_steps.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const THROUGH = process.env.THROUGH;

function transportTo(url) {
  if (!THROUGH) return new StreamableHTTPClientTransport(new URL(url));
  return new StdioClientTransport({
    command: join(HERE, "node_modules", ".bin", THROUGH),
    args: [url, "--allow-http", "--transport", "http-only", "--silent"],
    env: { ...getDefaultEnvironment(), MCP_REMOTE_CONFIG_DIR: join(HERE, "settings") },
    stderr: "ignore",
  });
}

async function connect(url, report) {
  const lacks = {};
  const capabilities = { sampling: {}, roots: {} };
  if (types.ElicitRequestSchema) capabilities.elicitation = {};
  else lacks.elicitation = "this release has no elicitation";
  const client = new Client({ name: "matrix", version: "1.0.0" }, { capabilities });
  client.onerror = report;
  if (types.ElicitRequestSchema) {
    client.setRequestHandler(types.ElicitRequestSchema, async () => ({
      action: "accept",
      content: { colour: COLOUR },
    }));
  }
  client.setRequestHandler(types.CreateMessageRequestSchema, async () => ({
    role: "assistant",
    model: "none",
    content: { type: "text", text: REPLY },
  }));
  client.setRequestHandler(types.ListRootsRequestSchema, async () => ({ roots: [{ uri: ROOT }] }));
  const logged = [];
  client.setNotificationHandler(types.LoggingMessageNotificationSchema, (message) => {
    logged.push(message.params.data);
  });
  const transport = transportTo(url);
  await client.connect(transport);
  return {
    keepsSession: true,
    version: transport.protocolVersion,
    lacks,
    logged,
    tools: async () => Object.fromEntries((await client.listTools()).tools.map((tool) => [tool.name, tool.inputSchema])),
    call: async (name, args, options) => textOf(await client.callTool({ name, arguments: args }, undefined, options)),
    setLevel: (level) => client.setLoggingLevel(level),
    close: async () => {
      await transport.terminateSession?.();
      await client.close();
    },
  };
}

await main(connect);
