// The protocol of a client program, for those in JavaScript; ../README.md has it in words.

import { createInterface } from "node:readline";

export const { STORY_ENDPOINT, AWS_REGION } = process.env;
const { STORY_BUCKET, STORY_OTHER_BUCKET, STORY_PREFIX } = process.env;

const tell = (line) => console.log(JSON.stringify(line));

async function obey(client, command, name) {
  if (command === "foreign") {
    await client.write(STORY_OTHER_BUCKET, `${STORY_PREFIX}/foreign`, "must not arrive");
    return;
  }
  const key = `${STORY_PREFIX}/${name}`;
  await client.write(STORY_BUCKET, key, name);
  const back = await client.read(STORY_BUCKET, key);
  if (back !== name) throw new Error(`wrote ${name}, read ${back}`);
}

/** `make()` is the client, made once: `write(bucket, key, text)` and `read(bucket, key)`, each of which throws on failure. */
export async function live(version, make) {
  tell({ version: `${version}, Node.js ${process.versions.node}` });
  let client;
  for await (const line of createInterface({ input: process.stdin })) {
    const start = performance.now();
    const answer = { ok: true };
    try {
      client ??= await make();
      await obey(client, ...line.split(" "));
    } catch (error) {
      answer.ok = false;
      answer.said = `${error.name}: ${error.message}`;
    }
    tell({ ...answer, ms: Math.round(performance.now() - start) });
  }
  process.exit(0);
}
