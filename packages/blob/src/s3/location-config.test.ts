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
          publicUrl: "x",
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
  ])("names the key of %j that it cannot read", (config, said) => {
    expect(() => s3ConfigFromLocation({ objectStorage: { bucket: "b" }, config })).toThrow(said);
  });

  it("refuses a certificate that is none", () => {
    expect(() => s3ConfigFromLocation({ objectStorage: { bucket: "b", caCert: "bm90IG9uZQ==" } })).toThrow("caCert is not the base64 of a PEM certificate");
  });
});
