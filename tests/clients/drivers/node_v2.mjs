// The official TypeScript SDK 2.x: `Client` in the mode that MODE names, legacy (its default) or auto (2026-07-28).

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { COLOUR, REPLY, ROOT, main, textOf } from "./node_steps.mjs";

const MODE = process.env.MODE;

async function connect(url, report) {
  const client = new Client(
    { name: "matrix", version: "1.0.0" },
    { capabilities: { sampling: {}, roots: {}, elicitation: {} }, versionNegotiation: { mode: MODE } },
  );
  client.onerror = report;
  client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { colour: COLOUR } }));
  client.setRequestHandler("sampling/createMessage", async () => ({
    role: "assistant",
    model: "none",
    content: { type: "text", text: REPLY },
  }));
  client.setRequestHandler("roots/list", async () => ({ roots: [{ uri: ROOT }] }));
  const logged = [];
  client.setNotificationHandler("notifications/message", (message) => {
    logged.push(message.params.data);
  });
  const transport = new StreamableHTTPClientTransport(new URL(url));
  await client.connect(transport);
  const isLegacy = MODE === "legacy";
  // 2026-07-28 has no level to set: a request asks for what it wants to see.
  const _meta = isLegacy ? undefined : { "io.modelcontextprotocol/logLevel": "info" };
  return {
    keepsSession: isLegacy,
    version: client.getNegotiatedProtocolVersion(),
    lacks: {},
    logged,
    tools: async () => Object.fromEntries((await client.listTools()).tools.map((tool) => [tool.name, tool.inputSchema])),
    call: async (name, args, options) => textOf(await client.callTool({ name, arguments: args, _meta }, options)),
    setLevel: isLegacy ? (level) => client.setLoggingLevel(level) : undefined,
    close: async () => {
      if (isLegacy) await transport.terminateSession();
      await client.close();
    },
  };
}

await main(connect);
