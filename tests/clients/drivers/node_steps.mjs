// The steps, for every client written in JavaScript: as python_steps.py has them.
//
// A driver gives `main` a function that connects and returns a peer: `call`, `tools`, `close`, and where its client has
// it `setLevel`; `logged` holds what was logged, and `lacks` says by the step what the client does not offer.

import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";

export const ROOT = "file:///matrix";
export const COLOUR = "ultramarine";
export const REPLY = "hello from the model";
const LOGGED = ["entry 1", "entry 2", "entry 3"];
const STEP_MS = 40_000;
const RESTART_MS = 160_000; // Of which the processes' own start is most, when three are restarted.
const LEAVES = 6;
const CANCELLED = '"code":-32800';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function need(condition, found) {
  if (!condition) throw new Error(`unexpected: ${typeof found === "string" ? found : JSON.stringify(found)}`);
}

function number(text, name) {
  const found = new RegExp(`${name}\\W+(\\d+)`).exec(text);
  need(found, text);
  return Number(found[1]);
}

const handleIn = (text) => /session_id\W+([\w-]{16,})/.exec(text)?.[1];

/** All that a result says; a result that is an error is one. */
export function textOf(result) {
  const text = JSON.stringify(result).replaceAll("\\", "");
  if (result.isError) throw new Error(text);
  return text;
}

async function until(condition) {
  for (let i = 0; i < 100 && !condition(); i++) await pause(50);
}

class Steps {
  constructor(connect) {
    this.open = connect;
    this.counts = 0;
    this.answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  }

  async use(peer, tool, args) {
    this.schemas ??= await peer.tools();
    const offered = "session_id" in (this.schemas[tool]?.properties ?? {});
    const handle = this.handle && offered && !peer.keepsSession ? { session_id: this.handle } : {};
    const text = await peer.call(tool, { ...args, ...handle });
    this.handle = handleIn(text) ?? this.handle;
    return text;
  }

  async connect(peer) {
    return peer.version ?? "";
  }

  async tools(peer) {
    const stored = await this.use(peer, "store_app_state", { key: "colour", data: { deep: [COLOUR] } });
    need(stored.includes(COLOUR), stored);
    const found = await this.use(peer, "get_app_state", { key: "colour" });
    need(found.includes(COLOUR), found);
    const ran = await this.use(peer, "lambda_operation", { operation: "matrix", input: { batch: 1 } });
    need(number(ran, "execution_count") === 1, ran);
    const placed = await this.use(peer, "global_state", { region: "eu-west-1", data: { warm: true } });
    need(placed.includes("warm"), placed);
    need((await this.use(peer, "dynamodb_info", {})).includes("tables"), "no tables");
    if (peer.keepsSession) this.session = handleIn(stored);
  }

  async counters(peer) {
    for (let i = 0; i < 5; i++) await this.oneMore(peer);
    const texts = await Promise.all(Array.from({ length: 8 }, () => this.use(peer, "count", {})));
    const numbers = texts.map((text) => number(text, "count")).sort((a, b) => a - b);
    need(numbers.every((value, i) => value === this.counts + 1 + i), numbers);
    this.counts += 8;
    return `counted to ${this.counts}`;
  }

  async oneMore(peer) {
    const text = await this.use(peer, "count", {});
    this.counts += 1;
    need(number(text, "count") === this.counts, text);
  }

  async progress(peer) {
    const values = [];
    await peer.call("report", {}, { onprogress: (value) => values.push(value.progress) });
    await until(() => values.length >= 3);
    need(JSON.stringify(values) === "[1,2,3]", values);
  }

  async logging(peer) {
    await peer.setLevel?.("info");
    await peer.call("log", {});
    await until(() => peer.logged.length >= 3);
    need(JSON.stringify(peer.logged) === JSON.stringify(LOGGED), peer.logged);
  }

  async elicitation(peer) {
    const text = await peer.call("ask", {});
    need(text.includes(COLOUR), text);
  }

  async sampling(peer) {
    const text = await peer.call("sample", {});
    need(text.includes(REPLY), text);
  }

  async roots(peer) {
    const text = await peer.call("roots", {});
    need(text.includes(ROOT), text);
  }

  async cancellation(peer) {
    const token = randomBytes(8).toString("hex");
    const abort = new AbortController();
    const call = peer.call("wait", { seconds: 25, token }, { signal: abort.signal }).catch(() => "cancelled");
    await this.became(peer, token, "begun");
    abort.abort("changed my mind");
    await this.became(peer, token, "cancelled");
    await call;
  }

  async became(peer, token, expected) {
    let seen = "";
    for (let i = 0; i < 80; i++) {
      seen = await peer.call("outcome", { token });
      if (seen.includes(expected)) return;
      await pause(100);
    }
    throw new Error(`the call is ${seen}, not ${expected}`);
  }

  async silence(peer) {
    const token = randomBytes(8).toString("hex");
    const text = await peer.call("wait", { seconds: 3.5, token, announced: true }, { onprogress: () => {} });
    need(text.includes("waited to the end"), text);
  }

  async restart(peer) {
    if (!this.counts) await this.oneMore(peer);
    say({ ask: "restart" });
    await this.answers.next();
    await this.oneMore(peer);
    await this.oneMore(peer);
    return `counted on to ${this.counts}`;
  }

  async delete_in_flight() {
    for (let i = 0; i < LEAVES; i++) {
      const token = randomBytes(8).toString("hex");
      const other = await this.open();
      const call = other.call("wait", { seconds: 4, token }).catch(() => "gone");
      await this.became(other, token, "begun");
      await other.close();
      await call;
    }
  }
}

function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** `driver URL STEP[,STEP…]` */
export async function main(connect) {
  const [url, list] = process.argv.slice(2);
  const wanted = list.split(",");
  const errors = [];
  // The answer to a call that the client itself cancelled has nobody who waits for it, and a transport reports it
  // so: it may come when the next step has begun, and is that step's error as little as the cancelled one's.
  const report = (error) => {
    if (!String(error).includes(CANCELLED)) errors.push(String(error));
  };
  process.on("unhandledRejection", report);
  process.on("uncaughtException", report);
  const open = () => connect(url, report);
  const steps = new Steps(open);
  let peer;
  try {
    peer = await within(open(), STEP_MS);
  } catch (error) {
    say({ step: "connect", ok: false, detail: String(error) });
    process.exit(1);
  }
  for (const name of ["connect", ...wanted.filter((step) => !["connect", "delete"].includes(step))]) {
    errors.length = 0;
    if (name in peer.lacks) {
      say({ step: name, ok: null, detail: peer.lacks[name] });
      continue;
    }
    try {
      const detail = await within(steps[name](peer), name === "restart" ? RESTART_MS : STEP_MS);
      // A transport tells of its broken streams by this callback: after a restart that is what it is for.
      if (errors.length && !["restart", "delete_in_flight"].includes(name)) {
        throw new Error(`it reported ${errors.join(" | ")}`);
      }
      say({ step: name, ok: true, detail: detail ?? "" });
    } catch (error) {
      say({ step: name, ok: false, detail: String(error) });
    }
  }
  if (wanted.includes("delete")) {
    try {
      steps.session ??= handleIn(await peer.call("lambda_operation", { operation: "leave", input: null }));
      await within(peer.close(), STEP_MS);
      say({ step: "delete", ok: true, detail: "", session: steps.session });
    } catch (error) {
      say({ step: "delete", ok: false, detail: String(error) });
    }
  }
  process.exit(0);
}
