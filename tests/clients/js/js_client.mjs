// The JavaScript SDK v3: the default credential chain. The story is told in ../story.py; this is the same one.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const { STORY_BUCKET, STORY_OTHER_BUCKET, STORY_PREFIX, STORY_PRINCIPAL } = process.env;
const s3 = new S3Client({ forcePathStyle: true });
const sts = new STSClient({});

const tell = (line) => console.log(JSON.stringify(line));

async function check(name, action) {
  const start = performance.now();
  let ok = true;
  let detail = "";
  try {
    await action();
  } catch (error) {
    ok = false;
    detail = `${error.name}: ${error.message}`;
  }
  tell({ check: name, ok, detail, ms: Math.round(performance.now() - start) });
}

const write = (Bucket, Key, Body) => s3.send(new PutObjectCommand({ Bucket, Key, Body }));
const read = async (Bucket, Key) => (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body.transformToString();

async function actsAsTheRole() {
  const { Arn } = await sts.send(new GetCallerIdentityCommand({}));
  if (Arn !== STORY_PRINCIPAL) throw new Error(`acts as ${Arn}, not as ${STORY_PRINCIPAL}`);
}

async function roundTrip(name) {
  const key = `${STORY_PREFIX}/${name}`;
  const text = `${name} at ${Date.now()}`;
  await write(STORY_BUCKET, key, text);
  const back = await read(STORY_BUCKET, key);
  if (back !== text) throw new Error(`wrote ${text}, read ${back}`);
}

async function refusedElsewhere() {
  try {
    await write(STORY_OTHER_BUCKET, `${STORY_PREFIX}/foreign`, "must not arrive");
  } catch (error) {
    if (error.name === "AccessDenied") return;
    throw error;
  }
  throw new Error(`wrote to ${STORY_OTHER_BUCKET}`);
}

const { version } = createRequire(import.meta.url)("@aws-sdk/client-s3/package.json");
tell({ version: `@aws-sdk/client-s3 ${version}, Node.js ${process.versions.node}` });
await check("identity", actsAsTheRole);
await check("first", () => roundTrip("first"));
tell({ waiting: "step 2" });
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() !== "step 2") process.exit(1);
  await check("refreshed", () => roundTrip("refreshed"));
  await check("isolated", refusedElsewhere);
  break;
}
process.exit(0);
