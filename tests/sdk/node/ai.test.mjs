// Vercel's `ai`, through its provider for whatever speaks OpenAI's API.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, RetryError, generateObject, generateText, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import { ALIAS, BRIDGED, Caller, LIST, SLOW_LIST, baseURL, eitherURL, narrowURL, occupy, script, until } from "./served.mjs";

const prompt = "Hello";
const schema = z.object({ city: z.string(), days: z.number() });
const tools = { weather: tool({ inputSchema: schema, execute: ({ days }) => `rain for ${days} days` }) };
const TRIP = { city: "Oslo", days: 3 };

async function madeFor(url) {
  return made({ baseURL: url }, await Caller.of(url));
}

function made(options = {}, caller = new Caller()) {
  const { apiKey } = caller;
  const usual = { name: "autopilot", baseURL, apiKey, fetch: caller.fetch };
  const provider = createOpenAICompatible({ ...usual, includeUsage: true, supportsStructuredOutputs: true, ...options });
  return { caller, provider };
}

async function joined(stream) {
  let said = "";
  for await (const part of stream) said += part;
  return said;
}

test("alias, list and direct name answer plainly and streamed, with the same words", async () => {
  const each = eitherURL.flatMap((url) => [ALIAS, LIST, "stub/ok"].map((model) => [url, model]));
  for (const [url, model] of each) {
    const { provider } = await madeFor(url);
    const { text } = await generateText({ model: provider(model), prompt });
    assert.match(text, /^Served by /);
    assert.equal(await joined(streamText({ model: provider(model), prompt }).textStream), text);
  }
});

test("comments before an answer change nothing", async () => {
  const { provider } = made({ headers: BRIDGED });
  const said = await joined(streamText({ model: provider(SLOW_LIST), prompt }).textStream);
  assert.match(said, /^Served by stub\/slow-head/);
});

test("a list goes on to the next model, and the headers say so", async () => {
  const { caller, provider } = made();
  const model = provider(LIST);
  const plain = (await generateText({ model, prompt })).response;
  const stream = streamText({ model, prompt });
  await stream.consumeStream();
  for (const { headers } of [plain, await stream.response]) {
    assert.equal(headers["x-chutes-autopilot-selected"], "stub/ok");
    assert.ok(headers["x-request-id"]);
  }
  assert.equal(plain.headers["x-chutes-autopilot-attempts"], "2");
  assert.deepEqual((await caller.models()).slice(0, 2), LIST.split(","));
});

test("usage, and reasoning before the text, from either engine", async () => {
  for (const name of ["stub/reasoning", "stub/reasoning-vllm"]) {
    const { provider } = made();
    const stream = streamText({ model: provider(name), prompt });
    assert.match(await stream.reasoningText, /thought1.*thought6/);
    const usage = await stream.usage;
    assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
  }
});

test("a tool is called, and its result goes up with the next step", async () => {
  const each = eitherURL.flatMap((url) => [false, true].map((streamed) => [url, streamed]));
  for (const [url, streamed] of each) {
    const { caller, provider } = await madeFor(url);
    await script("stub/ok", "tool-call");
    const asked = { model: provider("stub/ok"), prompt, tools, stopWhen: ({ steps }) => steps.length === 2 };
    const result = streamed ? streamText(asked) : await generateText(asked);
    const steps = await result.steps;
    assert.deepEqual(steps[0].toolCalls[0].input, TRIP);
    assert.match(steps[1].text, /^Served by stub\/ok/);
    const last = (await caller.body()).messages.at(-1);
    assert.deepEqual([last.role, last.content], ["tool", "rain for 3 days"]);
  }
});

test("structured output reaches the platform as a schema and comes back parsed", async () => {
  for (const url of eitherURL) {
    const { caller, provider } = await madeFor(url);
    const asked = { model: provider("stub/structured"), prompt };
    assert.deepEqual((await generateText({ ...asked, output: Output.object({ schema }) })).output, TRIP);
    assert.deepEqual(await streamText({ ...asked, output: Output.object({ schema }) }).output, TRIP);
    assert.deepEqual((await generateObject({ ...asked, schema })).object, TRIP);
    const stream = streamObject({ ...asked, schema });
    for await (const part of stream.partialObjectStream) assert.ok(typeof part === "object");
    assert.deepEqual(await stream.object, TRIP);
    const bodies = await caller.bodies();
    assert.equal(bodies.length, 4);
    for (const { response_format } of bodies) assert.equal(response_format.type, "json_schema");
  }
});

test("errors are told apart by their status, and only what may pass is retried", async () => {
  const statuses = [["400-context", 400], ["401", 401], ["402-quota", 402], ["404-model", 404], ["422-list", 422]];
  for (const [scenario, status] of statuses) {
    const { caller, provider } = made();
    await assert.rejects(generateText({ model: provider(`stub/${scenario}`), prompt }), (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.deepEqual([error.statusCode, error.isRetryable], [status, false]);
      return true;
    });
    assert.equal((await caller.models()).length, 1, scenario);
  }
});

test("without retries of its own the edge's limit is asked once", async () => {
  const { caller, provider } = made();
  const asked = { model: provider("stub/429-edge-html"), prompt, maxRetries: 0 };
  await assert.rejects(generateText(asked), (error) => {
    assert.deepEqual([error.statusCode, error.isRetryable], [429, true]);
    return true;
  });
  assert.equal((await caller.models()).length, 1);
});

test("a misspelt name is the caller's error, with a suggestion, and reaches no platform", async () => {
  const { caller, provider } = made();
  await assert.rejects(generateText({ model: provider("stub/okk"), prompt }), (error) => {
    assert.equal(error.data.error.code, "unknown_model");
    assert.match(error.message, /stub\/ok/);
    assert.ok(error.responseHeaders["x-request-id"]);
    return true;
  });
  assert.deepEqual([await caller.models(), caller.statuses], [[], [400]]);
});

test("our own 503 is retried when it says, given up, and served once there is room", async () => {
  const end = await occupy();
  const { caller, provider } = made({ baseURL: narrowURL });
  const asked = { model: provider("stub/ok"), prompt };
  await assert.rejects(generateText({ ...asked, maxRetries: 1 }), (error) => {
    assert.ok(RetryError.isInstance(error));
    assert.deepEqual([error.errors.length, error.lastError.statusCode], [2, 503]);
    assert.equal(error.lastError.data.error.code, "overloaded");
    return true;
  });
  const retried = generateText({ ...asked, maxRetries: 5 });
  await until(() => caller.statuses.length === 3);
  end();
  assert.match((await retried).text, /^Served by stub\/ok/);
  assert.deepEqual(await caller.models(), ["stub/ok"]);
  assert.deepEqual([caller.statuses.at(-1), new Set(caller.statuses.slice(0, -1))], [200, new Set([503])]);
});

test("a stream that breaks is an error, and the words before the break arrive", async () => {
  for (const scenario of ["drop-mid-stream", "reset-mid-stream", "bare-json-tail", "error-event-mid"]) {
    const { caller, provider } = made();
    const errors = [];
    const model = provider(`stub/${scenario},stub/ok`);
    const stream = streamText({ model, prompt, onError: ({ error }) => errors.push(error) });
    let said = "";
    try {
      for await (const part of stream.textStream) said += part;
    } catch (error) {
      errors.push(error);
    }
    assert.ok(said.startsWith(`Served by stub/${scenario}.`), said);
    assert.match(errors[0].message, /incomplete|exhausted/, scenario);
    assert.deepEqual(await caller.models(), [`stub/${scenario}`]);
  }
});

test("an abort in mid-stream or before the first byte ends the platform's work", async () => {
  for (const name of ["stub/stall-mid-stream", "stub/hang-head"]) {
    const { caller, provider } = made();
    const leaving = new AbortController();
    const stream = streamText({ model: provider(name), prompt, abortSignal: leaving.signal, onError() {} });
    const read = (async () => {
      for await (const part of stream.fullStream) if (part.type === "text-delta") leaving.abort();
    })();
    await until(async () => (await caller.models()).length === 1);
    if (name === "stub/hang-head") leaving.abort();
    await read;
    await caller.left();
  }
});

test("a header of ours goes with every request of a provider", async () => {
  const { provider } = made({ headers: { "X-TEE-Only": "true" } });
  const { response } = await generateText({ model: provider(ALIAS), prompt });
  assert.match(response.headers["x-chutes-autopilot-selected"], /-TEE$/);
});
