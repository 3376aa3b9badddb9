// Opens an export in transformers.js: node embed.mjs ROOT NAME OPTIONS < TEXTS > {ids, vectors}
import { readFileSync } from "node:fs";

import { AutoModel, AutoTokenizer, env } from "@huggingface/transformers";

const [root, name, options] = process.argv.slice(2);
env.localModelPath = root;
env.allowRemoteModels = false;

const texts = JSON.parse(readFileSync(0, "utf-8"));
const tokenizer = await AutoTokenizer.from_pretrained(name);
const ids = texts.map((text) => Array.from(tokenizer(text, { truncation: true }).input_ids.data, Number));

const model = await AutoModel.from_pretrained(name, JSON.parse(options));
const vectors = [];
for (let start = 0; start < texts.length; start += 16) {
  const batch = tokenizer(texts.slice(start, start + 16), { padding: true, truncation: true });
  vectors.push(...(await model(batch)).sentence_embedding.tolist());
}
process.stdout.write(JSON.stringify({ ids, vectors }));
