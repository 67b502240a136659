// The official TypeScript SDK's client, of either line, through what the server offers; prints what it got as JSON.
// Usage: node stream_client.mjs <url> sdk|client-legacy|client-modern

import { setTimeout as sleep } from 'node:timers/promises';

const [url, line] = process.argv.slice(2);
const URI = 'test://watched';
const got = { logged: [], updated: [], progress: [], asked: 0, requests: [], errors: [] };

const counting = async (input, init) => {
  const response = await fetch(input, init);
  const lastEventId = new Headers(init?.headers).get('last-event-id');
  got.requests.push([init?.method ?? 'GET', response.status, lastEventId !== null]);
  return response;
};

const onLog = ({ params }) => void got.logged.push(params.data);
const onUpdate = ({ params }) => void got.updated.push(params.uri);
const onElicit = () => {
  got.asked += 1;
  return { action: 'accept', content: { colour: 'green' } };
};
const onSample = () => ({ role: 'assistant', model: 'm', content: { type: 'text', text: 'said the model' } });
const options = { capabilities: { elicitation: {}, sampling: {} } };
const info = { name: line, version: '1' };

async function connect() {
  if (line === 'sdk') {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
    const types = await import('@modelcontextprotocol/sdk/types.js');
    const client = new Client(info, options);
    client.setNotificationHandler(types.LoggingMessageNotificationSchema, onLog);
    client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, onUpdate);
    client.setRequestHandler(types.ElicitRequestSchema, onElicit);
    client.setRequestHandler(types.CreateMessageRequestSchema, onSample);
    client.onerror = (error) => void got.errors.push(String(error));
    const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: counting });
    await client.connect(transport);
    got.version = transport.protocolVersion;
    const call = (name, args, more) => client.callTool({ name, arguments: args }, undefined, more);
    return { client, transport, call };
  }
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const mode = line === 'client-legacy' ? 'legacy' : { pin: '2026-07-28' };
  const client = new Client(info, { ...options, versionNegotiation: { mode } });
  client.setNotificationHandler('notifications/message', onLog);
  client.setNotificationHandler('notifications/resources/updated', onUpdate);
  client.setRequestHandler('elicitation/create', onElicit);
  client.setRequestHandler('sampling/createMessage', onSample);
  client.onerror = (error) => void got.errors.push(String(error));
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: counting });
  await client.connect(transport);
  got.version = client.getNegotiatedProtocolVersion();
  const call = (name, args, more) => client.callTool({ name, arguments: args }, more);
  return { client, transport, call };
}

async function until(condition) {
  for (let turn = 0; turn < 100 && !condition(); turn += 1) await sleep(100);
}

const text = (result) => result.content[0].text;
const taken = (list) => list.splice(0, list.length);
const { client, transport, call } = await connect();

got.tools = (await client.listTools()).tools.length;
const counted = await call('count_progress', { last: 5 }, { onprogress: ({ progress }) => got.progress.push(progress) });
got.counted = text(counted);
got.painted = text(await call('paint', { what: 'a fence' }));

if (line === 'client-modern') {
  const subscription = await client.listen({ resourceSubscriptions: [URI] });
  await call('announce', { uri: URI });
  await until(() => got.updated.length);
  await subscription.close();
} else {
  await client.setLoggingLevel('info');
  await call('count_to', { last: 5, pause: 0 });
  got.numbers = taken(got.logged);
  got.answer = text(await call('ask_user', { question: '?' }));
  got.model = text(await call('ask_model', { question: '?' }));
  await call('send_away', { last: 5, pause: 0.4 });
  got.away = taken(got.logged);
  await call('say_aside', { first: 1, last: 3 });
  await until(() => got.logged.length === 3);
  got.aside = taken(got.logged);
  await client.subscribeResource({ uri: URI });
  await call('announce', { uri: URI });
  await until(() => got.updated.length);
  await call('close_standalone', {});
  await call('say_aside', { first: 4, last: 6 });
  await until(() => got.logged.length === 3);
  got.afterwards = taken(got.logged);
  got.failure = await call('fail_late', {}).catch((error) => error.message);
  taken(got.requests);
  await sleep(3000);
  got.idle = taken(got.requests);
  await transport.terminateSession();
}
await client.close();
delete got.requests;
console.log(JSON.stringify(got));
process.exit(0);
