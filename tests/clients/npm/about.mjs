// What the three clients' tests have in common: where the gateway is, and what is asked of it.
export const url = process.env.GATEWAY_URL;
export const key = process.env.GATEWAY_KEY;
export const [PLAIN, SEEING, VECTORS] = ["qwen2.5:3b", "qwen3-vl:4b", "nomic-embed-text:latest"];
export const ASK = [{ role: "user", content: "Who are you?" }];
export const CALL = "What is the weather? [simulate: call a tool]";
export const BREAKS = "[simulate: close after 3 tokens]";
export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city"],
};
export const EXAMPLE = { city: "simulated", days: 1 };
export const PICTURE =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

export async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}
