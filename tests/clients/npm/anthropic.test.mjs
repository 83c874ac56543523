// Anthropic's own JavaScript client through the gateway.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { ASK, BREAKS, CALL, EXAMPLE, PICTURE, PLAIN, SCHEMA, SEEING, all, key, url } from "./about.mjs";

const client = (held) => new Anthropic({ baseURL: url, apiKey: held, maxRetries: 0 });
const claude = client(key);
const tools = [{ name: "weather", description: "Outside.", input_schema: SCHEMA }];

test("a message whole and streamed", async () => {
  const asked = { model: PLAIN, max_tokens: 8, messages: ASK, system: "Be brief." };
  const whole = await claude.messages.create(asked);
  assert.equal(whole.usage.output_tokens, 8);
  assert.equal(whole._gateway.completion_tokens, 8);
  const events = await all(await claude.messages.create({ ...asked, stream: true }));
  assert.equal(events.at(-1).type, "message_stop");
  assert.equal(events.at(-1)._gateway.completion_tokens, 8);
  const final = await claude.messages.stream(asked).finalMessage();
  assert.deepEqual(final.content[0].text, whole.content[0].text);
  assert.equal(final.stop_reason, "max_tokens");
});

test("a model thinks, sees and calls a tool", async () => {
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const thought = await claude.messages
    .stream({ model: SEEING, max_tokens: 2048, messages: ASK, thinking })
    .finalMessage();
  assert.deepEqual(thought.content.map((block) => block.type), ["thinking", "text"]);
  const source = { type: "base64", media_type: "image/png", data: PICTURE };
  const image = [{ role: "user", content: [{ type: "image", source }] }];
  assert.ok((await claude.messages.create({ model: SEEING, max_tokens: 64, messages: image })).usage.input_tokens > 768);
  const ask = [{ role: "user", content: CALL }];
  const called = await claude.messages.stream({ model: PLAIN, max_tokens: 64, messages: ask, tools }).finalMessage();
  assert.equal(called.stop_reason, "tool_use");
  const use = called.content.find((block) => block.type === "tool_use");
  assert.deepEqual(use.input, EXAMPLE);
  const result = { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "Rain." }] };
  const talk = [...ask, { role: "assistant", content: called.content }, result];
  const answered = await claude.messages.create({ model: PLAIN, max_tokens: 64, messages: talk, tools });
  assert.deepEqual(answered.content.map((block) => block.type), ["text"]);
});

test("models are listed and described, and batches refused", async () => {
  const models = await all(claude.models.list());
  assert.ok(models.some((model) => model.id === PLAIN && model.type === "model"));
  assert.equal((await claude.models.retrieve(PLAIN)).display_name, PLAIN);
  await assert.rejects(claude.messages.batches.list(), { status: 404, message: /one by one/ });
});

test("what goes wrong is raised as its own error", async () => {
  const asked = { model: PLAIN, max_tokens: 8, messages: ASK };
  await assert.rejects(client("mg_wrong").messages.create(asked), Anthropic.AuthenticationError);
  await assert.rejects(claude.messages.create({ ...asked, model: "no-such-model" }), Anthropic.NotFoundError);
  await assert.rejects(claude.messages.countTokens({ model: PLAIN, messages: ASK }), { status: 501 });
  const broken = claude.messages.stream({ ...asked, messages: [{ role: "user", content: BREAKS }], max_tokens: 64 });
  await assert.rejects(broken.finalMessage(), Anthropic.APIError);
});
