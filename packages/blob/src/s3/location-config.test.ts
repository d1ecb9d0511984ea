import { describe, expect, it } from "vitest";
import { parseAwsCredentials } from "./aws-credentials.ts";
import { s3ConfigFromLocation } from "./location-config.ts";

const CREDENTIALS = `# comment
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key=se=cret/with+signs

[profile other]
  aws_access_key_id = OTHER ; \r
  AWS_SECRET_ACCESS_KEY = other-secret
  aws_session_token = token
[role]
role_arn = arn:aws:iam::1:role/x
[half]
aws_access_key_id = HALF
aws_secret_access_key =
`.replace(" ; \r", "\r");

describe("parseAwsCredentials()", () => {
  it("reads the profile asked for, the default one otherwise", () => {
    expect(parseAwsCredentials(CREDENTIALS)).toEqual({ accessKeyId: "AKIADEFAULT", secretAccessKey: "se=cret/with+signs" });
    expect(parseAwsCredentials(CREDENTIALS, "other")).toEqual({ accessKeyId: "OTHER", secretAccessKey: "other-secret", sessionToken: "token" });
  });

  it("says which profile or key is missing, and no value", () => {
    expect(() => parseAwsCredentials(CREDENTIALS, "none")).toThrow('Cannot read the credentials of profile "none": the file has no such profile');
    expect(() => parseAwsCredentials(CREDENTIALS, "half")).toThrow("aws_secret_access_key is missing");
    expect(() => parseAwsCredentials(CREDENTIALS, "role")).toThrow(expect.objectContaining({ code: "NOT_SUPPORTED" }));
    expect(parseAwsCredentials("[default]\nsts_regional_endpoints = regional\nrole_arn = arn:x\nweb_identity_token_file = /var/token\n")).toEqual({
      roleArn: "arn:x",
      webIdentityTokenFile: "/var/token",
    });
    expect(() => parseAwsCredentials("")).toThrow(expect.objectContaining({ code: "BLOB_BAD_CONFIG" }));
  });
});

describe("s3ConfigFromLocation()", () => {
  it("reads the keys of Velero's AWS plug-in", () => {
    const options = s3ConfigFromLocation(
      {
        objectStorage: { bucket: "backups", prefix: "/velero/", caCert: Buffer.from("-----BEGIN CERTIFICATE-----\nx").toString("base64") },
        config: {
          region: "minio",
          s3Url: "https://minio.example:9000/",
          s3ForcePathStyle: "true",
          insecureSkipTLSVerify: "false",
          checksumAlgorithm: "",
          profile: "other",
          publicUrl: "https://public.example/",
          kmsKeyId: "key-1",
          tagging: "team=a",
          storageClass: "STANDARD_IA",
          enableSharedConfig: "true",
        },
      },
      { credentialsText: CREDENTIALS },
    );
    expect(options).toEqual({
      bucket: "backups",
      prefix: "velero/",
      region: "minio",
      endpoint: "https://minio.example:9000",
      pathStyle: true,
      insecureSkipTlsVerify: false,
      caCert: "-----BEGIN CERTIFICATE-----\nx",
      checksumAlgorithm: "",
      publicUrl: "https://public.example",
      kmsKeyId: "key-1",
      tagging: "team=a",
      storageClass: "STANDARD_IA",
      credentials: { accessKeyId: "OTHER", secretAccessKey: "other-secret", sessionToken: "token" },
    });
  });

  it("leaves everything open that a location does not say", () => {
    expect(s3ConfigFromLocation({ objectStorage: { bucket: "b" } })).toEqual({ bucket: "b", prefix: "" });
    expect(s3ConfigFromLocation({ objectStorage: { bucket: "b" }, config: { s3Url: "", profile: "p" } })).toEqual({ bucket: "b", prefix: "", profile: "p" });
  });

  it.each([
    [{ s3ForcePathStyle: "yes" }, '"s3ForcePathStyle" is "yes"'],
    [{ checksumAlgorithm: "MD4" }, '"checksumAlgorithm" is "MD4"'],
    [{ serverSideEncryption: "AES" }, '"serverSideEncryption" is "AES"'],
    [{ storageClass: "GLACIER" }, '"storageClass" is "GLACIER"'],
    [{ signatureVersion: "1" }, '"signatureVersion" is "1"'],
    [{ s3url: "https://x" }, 'config key "s3url" is not known, is "s3Url" meant?'],
    [{ surprise: "x" }, 'config key "surprise" is not known'],
    [{ customerKeyEncryptionFile: "/none" }, "the customer key that its config names was not read"],
  ])("names the key of %j that it cannot read", (config, said) => {
    expect(() => s3ConfigFromLocation({ objectStorage: { bucket: "b" }, config })).toThrow(said);
  });

  it("takes the first 32 bytes of a customer key, and refuses fewer or other encryption beside it", () => {
    const config = { customerKeyEncryptionSecret: "a/b" };
    const read = (length: number, more = {}) =>
      s3ConfigFromLocation({ objectStorage: { bucket: "b" }, config: { ...config, ...more } }, { customerKey: new Uint8Array(length).fill(1) });
    expect(read(40).customerKey).toEqual(new Uint8Array(32).fill(1));
    expect(() => read(31)).toThrow("the customer key has 31 bytes, 32 are wanted");
    expect(() => read(32, { kmsKeyId: "x" })).toThrow("excludes kmsKeyId");
  });

  it("refuses a certificate that is none", () => {
    expect(() => s3ConfigFromLocation({ objectStorage: { bucket: "b", caCert: "bm90IG9uZQ==" } })).toThrow("caCert is not the base64 of a PEM certificate");
  });
});
