// OpenAI's own JavaScript client through the gateway.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { ASK, BREAKS, CALL, EXAMPLE, PICTURE, PLAIN, SCHEMA, SEEING, VECTORS, all, key, url } from "./about.mjs";

const client = (held) => new OpenAI({ baseURL: `${url}/v1`, apiKey: held, maxRetries: 0 });
const ai = client(key);
const described = { name: "weather", description: "Outside.", parameters: SCHEMA };

test("models are listed and described", async () => {
  assert.ok((await all(ai.models.list())).some((model) => model.id === PLAIN));
  assert.equal((await ai.models.retrieve(PLAIN)).id, PLAIN);
});

test("a chat whole, streamed, with a tool, a form and a picture", async () => {
  const whole = await ai.chat.completions.create({ model: PLAIN, messages: ASK, max_tokens: 8 });
  assert.equal(whole.usage.completion_tokens, 8);
  assert.equal(whole._gateway.completion_tokens, 8);
  const chunks = await all(
    await ai.chat.completions.create({ model: PLAIN, messages: ASK, max_completion_tokens: 8, stream: true }),
  );
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), whole.choices[0].message.content);
  assert.equal(chunks.at(-1)._gateway.completion_tokens, 8);
  const called = await ai.chat.completions.create({
    model: PLAIN,
    messages: [{ role: "user", content: CALL }],
    tools: [{ type: "function", function: described }],
  });
  assert.deepEqual(JSON.parse(called.choices[0].message.tool_calls[0].function.arguments), EXAMPLE);
  const format = { type: "json_schema", json_schema: { name: "weather", schema: SCHEMA } };
  const formed = await ai.chat.completions.parse({ model: PLAIN, messages: ASK, response_format: format });
  assert.deepEqual(JSON.parse(formed.choices[0].message.content), EXAMPLE);
  const image = { type: "image_url", image_url: { url: `data:image/png;base64,${PICTURE}` } };
  const seen = await ai.chat.completions.create({ model: SEEING, messages: [{ role: "user", content: [image] }] });
  assert.ok(seen.usage.prompt_tokens > 768);
});

test("completions and vectors", async () => {
  const chunks = await all(
    await ai.completions.create({ model: PLAIN, prompt: "Hello", max_tokens: 8, stream: true }),
  );
  assert.ok(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""));
  assert.ok(chunks.every((chunk) => !chunk.usage));
  assert.equal(chunks.at(-1)._gateway.completion_tokens, 8);
  const vectors = await ai.embeddings.create({ model: VECTORS, input: ["one", "two"] });
  assert.deepEqual(vectors.data.map((one) => one.embedding.length), [768, 768]);
});

test("a response whole, streamed, reasoning and calling", async () => {
  const asked = { model: PLAIN, input: "Hello", instructions: "Be brief.", max_output_tokens: 8 };
  const whole = await ai.responses.create(asked);
  assert.ok(whole.output_text);
  assert.equal(whole._gateway.completion_tokens, 8);
  const events = await all(await ai.responses.create({ ...asked, stream: true }));
  assert.equal(events.at(-1).type, "response.completed");
  assert.equal(events.at(-1)._gateway.completion_tokens, 8);
  const final = await ai.responses.stream(asked).finalResponse();
  assert.equal(final.output_text, whole.output_text);
  const tools = [{ type: "function", strict: false, ...described }];
  const called = await ai.responses.create({ model: PLAIN, input: CALL, tools });
  assert.deepEqual(JSON.parse(called.output[0].arguments), EXAMPLE);
  const thought = await ai.responses.create({ model: SEEING, input: "Hello", reasoning: { effort: "low" } });
  assert.deepEqual(thought.output.map((item) => item.type), ["reasoning", "message"]);
  const broken = await all(await ai.responses.create({ model: PLAIN, input: BREAKS, stream: true }));
  assert.equal(broken.at(-1).type, "response.failed");
});

test("a chat streams through the helper", async () => {
  const final = await ai.chat.completions.stream({ model: PLAIN, messages: ASK, max_tokens: 8 }).finalChatCompletion();
  assert.equal(final.choices[0].finish_reason, "length");
});

test("what is no inference is refused once, in a sentence", async () => {
  const refused = { status: 404, code: "not_served", message: /here/ };
  await assert.rejects(ai.images.generate({ prompt: "A cat" }), refused);
  await assert.rejects(ai.audio.speech.create({ input: "Hi", model: PLAIN, voice: "alloy" }), refused);
  await assert.rejects(ai.moderations.create({ input: "Hi" }), refused);
  await assert.rejects(ai.files.list(), refused);
  await assert.rejects(ai.batches.list(), refused);
  await assert.rejects(ai.beta.assistants.list(), refused);
  await assert.rejects(ai.vectorStores.list(), refused);
  await assert.rejects(ai.responses.retrieve("resp_1"), refused);
});

test("what goes wrong is raised as its own error", async () => {
  await assert.rejects(client("mg_wrong").models.list(), OpenAI.AuthenticationError);
  await assert.rejects(ai.responses.create({ model: "no-such-model", input: "Hi" }), OpenAI.NotFoundError);
  await assert.rejects(
    ai.responses.create({ model: PLAIN, input: "Hi", previous_response_id: "resp_1" }),
    OpenAI.BadRequestError,
  );
  const ask = [{ role: "user", content: BREAKS }];
  await assert.rejects(
    ai.chat.completions.create({ model: PLAIN, messages: ask, stream: true }).then(all),
    OpenAI.APIError,
  );
});
