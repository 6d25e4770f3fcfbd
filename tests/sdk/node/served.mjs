// Where the router is, and what the platform behind it has seen of one client.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

export const ALIAS = "chutesai/AutoPilot";
export const LIST = "stub/503-cold,stub/ok";
const PATIENCE_MS = 20_000;
const { ROUTER_URL, NARROW_ROUTER_URL, STUB_URL } = process.env;

/** What an SDK is pointed at. */
export const baseURL = `${ROUTER_URL}/v1`;
/** The same of a router that serves one request at a time. */
export const narrowURL = `${NARROW_ROUTER_URL}/v1`;

/** A client that nobody remembers: its key is how the platform's log tells it from others. */
export class Caller {
  apiKey = `fixture-${randomUUID()}`;
  statuses = [];

  /** A fetch for the SDK that keeps what each try of it came to. */
  fetch = async (...request) => {
    const response = await fetch(...request);
    this.statuses.push(response.status);
    return response;
  };

  /** The calls that reached the platform, in order. */
  async calls() {
    const { requests } = await (await fetch(`${STUB_URL}/stub/log`)).json();
    return requests.filter((each) => each.headers.some(([, value]) => value === `Bearer ${this.apiKey}`));
  }

  async models() {
    return (await this.calls()).map((each) => each.model);
  }

  /** The body of the last call as the platform read it. */
  async body() {
    return JSON.parse((await this.calls()).at(-1).body);
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
