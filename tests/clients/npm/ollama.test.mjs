// Ollama's own JavaScript client through the gateway.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";
import { ASK, BREAKS, CALL, EXAMPLE, PICTURE, PLAIN, SCHEMA, SEEING, VECTORS, all, key, url } from "./about.mjs";

const client = (held) => new Ollama({ host: url, headers: { Authorization: `Bearer ${held}` } });
const llama = client(key);
const tools = [{ type: "function", function: { name: "weather", description: "Outside.", parameters: SCHEMA } }];

test("models are listed, shown and seen to be loaded", async () => {
  const names = (await llama.list()).models.map((model) => model.name);
  assert.ok(names.includes(PLAIN) && names.includes(SEEING));
  assert.ok((await llama.show({ model: SEEING })).capabilities.includes("thinking"));
  await llama.generate({ model: PLAIN, prompt: "Hello", options: { num_predict: 2 } });
  assert.ok((await llama.ps()).models.some((model) => model.name === PLAIN));
  assert.ok((await llama.version()).version);
});

test("a chat streams, thinks and says in its last line what it took", async () => {
  const parts = await all(await llama.chat({ model: SEEING, messages: ASK, think: true, stream: true }));
  assert.ok(parts.map((part) => part.message.thinking ?? "").join(""));
  assert.ok(parts.map((part) => part.message.content).join(""));
  assert.equal(parts.at(-1)._gateway.completion_tokens, parts.at(-1).eval_count);
});

test("a tool is called, a form is kept, a picture passes", async () => {
  const called = await llama.chat({ model: PLAIN, messages: [{ role: "user", content: CALL }], tools });
  assert.deepEqual(called.message.tool_calls[0].function.arguments, EXAMPLE);
  const formed = await llama.chat({ model: PLAIN, messages: ASK, format: SCHEMA });
  assert.deepEqual(JSON.parse(formed.message.content), EXAMPLE);
  const seen = await llama.generate({ model: SEEING, prompt: "What is it?", images: [PICTURE], think: false });
  assert.ok(seen.prompt_eval_count > 768);
});

test("vectors come in the new way and in the old", async () => {
  assert.equal((await llama.embed({ model: VECTORS, input: ["one", "two"] })).embeddings.length, 2);
  assert.equal((await llama.embeddings({ model: VECTORS, prompt: "one" })).embedding.length, 768);
});

test("the web is searched elsewhere, with the same header", async () => {
  const went = [];
  const fetch = async (address, asked) => {
    went.push([String(address), new Headers(asked.headers).get("authorization")]);
    throw new Error("stopped by the test");
  };
  const watched = new Ollama({ host: url, headers: { Authorization: "Bearer mg_mine" }, fetch });
  await assert.rejects(watched.webSearch({ query: "x" }));
  await assert.rejects(watched.webFetch({ url: "https://example.org" }));
  assert.deepEqual(went, [
    ["https://ollama.com/api/web_search", "Bearer mg_mine"],
    ["https://ollama.com/api/web_fetch", "Bearer mg_mine"],
  ]);
});

test("what goes wrong is raised with its status", async () => {
  await assert.rejects(client("mg_wrong").list(), { status_code: 401 });
  await assert.rejects(llama.chat({ model: "no-such-model", messages: ASK }), { status_code: 404 });
  await assert.rejects(llama.delete({ model: PLAIN }), { status_code: 403 });
  await assert.rejects(llama.pull({ model: PLAIN }), { status_code: 403 });
  await assert.rejects(llama.push({ model: PLAIN }), { status_code: 403 });
  await assert.rejects(llama.create({ model: "mine", from: PLAIN }), { status_code: 403 });
  await assert.rejects(llama.copy({ source: PLAIN, destination: "mine" }), { status_code: 403 });
  const broken = await llama.generate({ model: PLAIN, prompt: BREAKS, stream: true });
  await assert.rejects(all(broken));
});
