// The JavaScript SDK v2, of which there will be no more: the default credential chain.

import AWS from "aws-sdk";
import { STORY_ENDPOINT, live } from "./protocol.mjs";

live(`aws-sdk ${AWS.VERSION}`, () => {
  const s3 = new AWS.S3({ endpoint: STORY_ENDPOINT, s3ForcePathStyle: true, signatureVersion: "v4" });
  return {
    write: (Bucket, Key, Body) => s3.putObject({ Bucket, Key, Body }).promise(),
    read: async (Bucket, Key) => (await s3.getObject({ Bucket, Key }).promise()).Body.toString(),
  };
});
