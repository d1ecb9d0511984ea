export * from "./aws-credentials.ts";
export * from "./conditional-put.ts";
export * from "./location-config.ts";
export { S3Bucket } from "./s3-bucket.ts";
export { openS3ObjectStore } from "./s3-object-store.ts";
export * from "./s3-options.ts";
export { openS3Storage } from "./s3-storage.ts";
