// The official `openai` package, unchanged but for its base URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ALIAS, BRIDGED, Caller, LIST, SLOW_LIST, baseURL, eitherURL, narrowURL, occupy, script, until } from "./served.mjs";

const messages = [{ role: "user", content: "Hello" }];
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];
const TRIP = { city: "Oslo", days: 3 };

function made(options = {}) {
  const caller = new Caller();
  return { caller, client: new OpenAI({ baseURL, apiKey: caller.apiKey, fetch: caller.fetch, ...options }) };
}

async function madeFor(url) {
  const caller = await Caller.of(url);
  return { caller, client: new OpenAI({ baseURL: url, apiKey: caller.apiKey, fetch: caller.fetch }) };
}

async function words(stream) {
  let said = "";
  for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? "";
  return said;
}

test("alias, list and direct name answer plainly and streamed, with the same words", async () => {
  const each = eitherURL.flatMap((url) => [ALIAS, LIST, "stub/ok"].map((model) => [url, model]));
  for (const [url, model] of each) {
    const { client } = await madeFor(url);
    const plain = await client.chat.completions.create({ model, messages });
    const said = plain.choices[0].message.content;
    assert.match(said, /^Served by /);
    assert.equal(await words(await client.chat.completions.create({ model, messages, stream: true })), said);
  }
});

test("the lines on the router's own page work as they are", async () => {
  const page = await (await fetch(new URL("/", baseURL), { headers: { accept: "text/html" } })).text();
  const code = page.split("<h2>openai for Node</h2><pre><code>")[1].split("</code>")[0].replaceAll("&#34;", '"');
  const [, ...lines] = code.split("\n"); // behind the import
  const said = [];
  const key = "fixture-start-page";
  const AsyncFunction = (async () => {}).constructor;
  await new AsyncFunction("OpenAI", "process", "console", lines.join("\n"))(
    OpenAI, { env: { CHUTES_API_KEY: key } }, { log: (text) => said.push(text) },
  );
  assert.match(said.join(), /^Served by /);
});

test("a list goes on to the next model, and the headers say so", async () => {
  for (const stream of [false, true]) {
    const { caller, client } = made();
    const { response } = await client.chat.completions.create({ model: LIST, messages, stream }).withResponse();
    assert.equal(response.headers.get("x-chutes-autopilot-selected"), "stub/ok");
    assert.equal(response.headers.get("x-chutes-autopilot-attempts"), "2");
    assert.ok(response.headers.get("x-request-id"));
    assert.deepEqual(await caller.models(), LIST.split(","));
  }
});

test("comments before an answer change nothing", async () => {
  const { client } = made({ defaultHeaders: BRIDGED });
  const asked = { model: SLOW_LIST, messages, stream: true };
  const { data, response } = await client.chat.completions.create(asked).withResponse();
  assert.equal(response.headers.get("x-chutes-autopilot-selected"), null);
  assert.match(await words(data), /^Served by stub\/slow-head/);
});

test("usage, and reasoning before the text", async () => {
  const { client } = made();
  const stream = await client.chat.completions.create({
    model: "stub/reasoning",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let thought = "";
  let usage;
  for await (const chunk of stream) {
    thought += chunk.choices[0]?.delta.reasoning_content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.match(thought, /thought1.*thought6/);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
});

test("a tool call, plain and put together from fragments", async () => {
  for (const url of eitherURL) {
    const { caller, client } = await madeFor(url);
    const asked = { model: "stub/tool-call", messages, tools };
    const plain = await client.chat.completions.create(asked);
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
    for (const { choices } of [plain, streamed]) {
      assert.equal(choices[0].finish_reason, "tool_calls");
      const [call] = choices[0].message.tool_calls;
      assert.equal(call.function.name, "weather");
      assert.deepEqual(JSON.parse(call.function.arguments), TRIP);
    }
    assert.deepEqual((await caller.body()).tools, tools);
  }
});

test("structured output reaches the platform as a schema and comes back parsed", async () => {
  const schema = z.object({ city: z.string(), days: z.number() });
  const asked = { model: "stub/structured", messages, response_format: zodResponseFormat(schema, "trip") };
  for (const url of eitherURL) {
    const { caller, client } = await madeFor(url);
    const plain = await client.chat.completions.parse(asked);
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
    for (const { choices } of [plain, streamed]) assert.deepEqual(choices[0].message.parsed, TRIP);
    assert.equal((await caller.body()).response_format.json_schema.name, "trip");
  }
});

test("the responses API, plain and streamed", async () => {
  const { client } = made();
  const asked = { model: LIST, input: "Hello" };
  const said = (await client.responses.create(asked)).output_text;
  assert.match(said, /^Served by stub\/ok/);
  let streamed = "";
  for await (const event of await client.responses.create({ ...asked, stream: true }))
    if (event.type === "response.output_text.delta") streamed += event.delta;
  assert.equal(streamed, said);
});

test("the model list has the alias first, and each model can be retrieved", async () => {
  const { client } = made();
  const models = (await client.models.list()).data.map((each) => each.id);
  assert.equal(models[0], ALIAS);
  assert.equal((await client.models.retrieve(models[1])).id, models[1]);
});

test("errors become the right exceptions with the platform's words, after one call", async () => {
  const expected = {
    "400-context": [OpenAI.BadRequestError, "Invalid request: Invalid request: This model's maximum context"],
    401: [OpenAI.AuthenticationError, "Invalid token."],
    "402-quota": [OpenAI.APIError, "Quota exceeded and account balance is $0.0"],
    "403-scope": [OpenAI.PermissionDeniedError, "Token does not have permission for this resource"],
    "404-model": [OpenAI.NotFoundError, "model not found: stub/404-model"],
    "422-list": [OpenAI.UnprocessableEntityError, "Field required"],
    "429-edge-html": [OpenAI.RateLimitError, ""], // whose ban grows with every call: the router says not to retry
  };
  for (const [scenario, [error, words]] of Object.entries(expected)) {
    const { caller, client } = made();
    await assert.rejects(client.chat.completions.create({ model: `stub/${scenario}`, messages }), (thrown) => {
      assert.ok(thrown instanceof error, scenario);
      assert.ok(thrown.message.startsWith(`${scenario.slice(0, 3)} ${words}`), thrown.message);
      return true;
    });
    assert.equal((await caller.models()).length, 1, scenario);
  }
});

test("a misspelt name is the caller's error, with a suggestion, and reaches no platform", async () => {
  const { caller, client } = made();
  await assert.rejects(client.chat.completions.create({ model: "stub/okk", messages }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual([error.code, error.param, error.type], ["unknown_model", "model", "invalid_request_error"]);
    assert.match(error.message, /stub\/ok/);
    assert.ok(error.requestID);
    return true;
  });
  assert.deepEqual([await caller.models(), caller.statuses], [[], [400]]);
});

test("a 503 of the platform is retried, until it is given up or gone", async () => {
  const { caller, client } = made();
  await assert.rejects(
    client.chat.completions.create({ model: "stub/503-cold", messages }),
    OpenAI.InternalServerError,
  );
  assert.equal((await caller.models()).length, 3);
  const second = made();
  await script("stub/ok-vllm", "503-cold");
  const answer = await second.client.chat.completions.create({ model: "stub/ok-vllm", messages });
  assert.match(answer.choices[0].message.content, /^Served by stub\/ok-vllm/);
  assert.equal((await second.caller.models()).length, 2);
});

test("our own 503 is retried when it says, and then served", async () => {
  const end = await occupy();
  const { caller, client } = made({ baseURL: narrowURL });
  const asked = { model: "stub/ok", messages };
  await assert.rejects(client.chat.completions.create(asked, { maxRetries: 0 }), (error) => {
    assert.ok(error instanceof OpenAI.InternalServerError);
    assert.equal(error.code, "overloaded");
    assert.equal(error.headers.get("retry-after"), "1");
    return true;
  });
  const retried = client.chat.completions.create(asked, { maxRetries: 5 });
  await until(() => caller.statuses.length === 2);
  end();
  assert.match((await retried).choices[0].message.content, /^Served by stub\/ok/);
  assert.deepEqual(await caller.models(), ["stub/ok"]);
  assert.deepEqual([caller.statuses.at(-1), new Set(caller.statuses.slice(0, -1))], [200, new Set([503])]);
});

test("a stream that breaks is an error, and the words before the break arrive", async () => {
  for (const scenario of ["drop-mid-stream", "reset-mid-stream", "bare-json-tail", "error-event-mid"]) {
    const { caller, client } = made();
    const model = `stub/${scenario},stub/ok`;
    let said = "";
    await assert.rejects(async () => {
      for await (const chunk of await client.chat.completions.create({ model, messages, stream: true }))
        said += chunk.choices[0]?.delta.content ?? "";
    }, OpenAI.APIError);
    assert.ok(said.startsWith(`Served by stub/${scenario}.`), said);
    assert.deepEqual(await caller.models(), [`stub/${scenario}`]);
  }
});

test("a client that leaves in mid-stream ends the platform's work", async () => {
  const { caller, client } = made();
  const model = "stub/stall-mid-stream";
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
  await caller.left();
});

test("an abort and a timeout before the first byte end it as well", async () => {
  const first = made();
  const leaving = new AbortController();
  const asked = { model: "stub/hang-head", messages };
  const answer = first.client.chat.completions.create(asked, { signal: leaving.signal });
  const rejected = assert.rejects(answer, OpenAI.APIUserAbortError);
  await until(async () => (await first.caller.models()).length === 1);
  leaving.abort();
  await rejected;
  await first.caller.left();
  const second = made({ timeout: 1000, maxRetries: 0 });
  await assert.rejects(second.client.chat.completions.create(asked), OpenAI.APIConnectionTimeoutError);
  await second.caller.left();
});

test("a header of ours goes with one request", async () => {
  const { client } = made();
  const asked = { model: ALIAS, messages };
  const headers = { "X-TEE-Only": "true" };
  const { response } = await client.chat.completions.create(asked, { headers }).withResponse();
  assert.match(response.headers.get("x-chutes-autopilot-selected"), /-TEE$/);
});
