// The JavaScript SDK v3: the default credential chain.

import { createRequire } from "node:module";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { live } from "./protocol.mjs";

const { version } = createRequire(import.meta.url)("@aws-sdk/client-s3/package.json");

live(`@aws-sdk/client-s3 ${version}`, () => {
  const s3 = new S3Client({ forcePathStyle: true });
  return {
    write: (Bucket, Key, Body) => s3.send(new PutObjectCommand({ Bucket, Key, Body })),
    read: async (Bucket, Key) => (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body.transformToString(),
  };
});
