// Where the router is, and what the platform behind it has seen of one client.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

export const ALIAS = "chutesai/AutoPilot";
export const LIST = "stub/503-cold,stub/ok";
/** Silent for longer than the second after which a router begins such a stream with a comment. */
export const SLOW_LIST = "stub/503-cold,stub/slow-head";
export const BRIDGED = { "X-Autopilot-Keepalive": "1000" };
const PATIENCE_MS = 20_000;
const { ROUTER_URL, NARROW_ROUTER_URL, PRIVATE_ROUTER_URL, STUB_URL } = process.env;

/** What an SDK is pointed at. */
export const baseURL = `${ROUTER_URL}/v1`;
/** The same of a router that serves one request at a time. */
export const narrowURL = `${NARROW_ROUTER_URL}/v1`;
/** The same of a router that encrypts each request. */
export const privateURL = `${PRIVATE_ROUTER_URL}/v1`;
/** For tests that a router in private mode must pass as they are. */
export const eitherURL = [baseURL, privateURL];
// Discovery is limited to a few a minute, and serves one key only.
const PRIVATE_KEY = `cpk_private-${randomUUID()}.sdk.tests`;

/** A client that nobody remembers: its key, or its time, is how the platform's log tells it from others. */
export class Caller {
  apiKey = `cpk_${randomUUID()}.sdk.tests`;
  statuses = [];
  #before = 0;

  /** A client of one of the routers. */
  static async of(url) {
    const caller = new Caller();
    if (url !== privateURL) return caller;
    caller.apiKey = PRIVATE_KEY;
    caller.#before = (await caller.calls()).length;
    return caller;
  }

  /** A fetch for the SDK that keeps what each try of it came to. */
  fetch = async (...request) => {
    const response = await fetch(...request);
    this.statuses.push(response.status);
    return response;
  };

  /** The calls that reached the platform, in order. */
  async calls() {
    const { requests } = await (await fetch(`${STUB_URL}/stub/log`)).json();
    const own = ({ method, headers }) =>
      method === "POST" && headers.some(([, value]) => value === `Bearer ${this.apiKey}`);
    return requests.filter(own).slice(this.#before);
  }

  async models() {
    return (await this.calls()).map((each) => each.model);
  }

  /** The bodies of the calls as the model's instances read them. */
  async bodies() {
    const calls = await this.calls();
    if (this.apiKey !== PRIVATE_KEY) return calls.map(({ body }) => JSON.parse(body));
    const opened = await (await fetch(`${STUB_URL}/stub/opened`)).json();
    return calls.map(({ number }) => opened[number]);
  }

  /** The last of them. */
  async body() {
    return (await this.bodies()).at(-1);
  }

  /** Wait until the platform has noticed that its only caller left. */
  async left() {
    await until(async () => {
      const calls = await this.calls();
      assert.equal(calls.length, 1);
      return calls[0].aborted;
    });
  }
}

/** Let a model play these scenarios, one for each call, and after them a good answer. */
export async function script(model, ...steps) {
  const body = JSON.stringify({ model, script: steps, then: "ok" });
  assert.equal((await fetch(`${STUB_URL}/stub/scenario`, { method: "POST", body })).status, 200);
}

/** Keep the narrow router busy with a stream; returns what ends it. */
export async function occupy() {
  const leaving = new AbortController();
  const response = await fetch(`${narrowURL}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "stub/stall-mid-stream", messages: [], stream: true }),
    signal: leaving.signal,
  });
  assert.equal(response.status, 200);
  return () => leaving.abort();
}

/** Wait for something to become true, on however slow a machine. */
export async function until(probe) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await probe())) {
    assert.ok(Date.now() < end, "waited in vain");
    await sleep(20);
  }
}
