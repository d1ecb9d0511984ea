import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRedactor, REDACTED } from "./redaction.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");

describe("redaction", () => {
  it("takes the values of Secrets out wherever they appear: as they are, in base64, in an address, and line by line", () => {
    const { text } = createRedactor([
      "correct horse battery",
      "[default]\naws_access_key_id = MINIOADMIN\naws_secret_access_key = sEcReT/value+1\nregion = eu-west-1\n",
    ]);
    for (const secret of ["correct horse battery", base64("correct horse battery"), "correct%20horse%20battery", "sEcReT/value+1", "MINIOADMIN"])
      expect(text(`before ${secret} after`)).toBe(`before ${REDACTED} after`);
    expect(text("in eu-west-1")).toBe("in eu-west-1");
  });

  it.each([
    ["an address with a signature", "GET https://b/x?X-Amz-Date=1&X-Amz-Signature=abcdef0123 ok", /abcdef0123/],
    ["a shared access signature", "https://a.blob.core.windows.net/c?sv=1&sig=aGVsbG8%3D", /aGVsbG8/],
    ["an address with a password", "s3 at https://user:hunter22@host/x", /hunter22/],
    ["a bearer token", "Authorization: Bearer abcdefghijkl", /abcdefghijkl/],
    ["a web token", "token eyJhbGciOiJI.eyJzdWIiOiIx.c2ln end", /eyJ/],
    ["a private key", "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----", /MHcCAQ/],
    ["a private key that is cut off", "-----BEGIN PRIVATE KEY-----\nMHcCAQ", /MHcCAQ/],
    ["an access key", "used AKIAIOSFODNN7EXAMPLE here", /AKIA/],
    ["a line of a credentials file", "aws_secret_access_key = wJalrXUtnFEMI", /wJalr/],
    ["a quoted value", 'password="hunter two" next', /hunter|two/],
    ["a value in single quotes", "password: 'hunter two'", /hunter|two/],
    ["a field of JSON", 'got {"password": "hunter\\"22"} end', /hunter|22/],
    ["a field of JSON in JSON", '"body":"{\\"secretKey\\":\\"hunter22\\"}"', /hunter22/],
    ["a block of YAML", "password: |\n  hunter22\n  more\nnext: 1", /hunter22|more/],
    ["a line of YAML", "  - token: hunter22", /hunter22/],
    ["a flag", "run --secret-access-key hunter22 -v", /hunter22/],
    ["a flag with its value", "run --repository-password=hunter22", /hunter22/],
    ["a variable", "export MYSQL_PWD=hunter22", /hunter22/],
    ["an assignment in a program", 'passphrase := "hunter22"', /hunter22/],
    ["a key of an interface", "apiKey=hunter22", /hunter22/],
    ["a signature without an address", "sv=1&sig=hunter22", /hunter22/],
    ["an encoded address with a signature", "u=https%3A%2F%2Fh%2F%3FX-Amz-Signature%3Dhunter22", /hunter22/],
    ["an address with a password that has slashes", "https://user:hunter/22@host/x", /hunter/],
    ["an address with a password alone", "redis://:hunter22@host:6379", /hunter22/],
    ["an address with a token", "https://hunter22@host/x", /hunter22/],
    ["a signed request", "Authorization: AWS4-HMAC-SHA256 Credential=a/2020, Signature=hunter22", /hunter22/],
    ["a token of GitHub", "ghp_0123456789abcdefghijABCDEFGHIJ012345", /0123456789/],
  ])("knows %s by its shape", (_what, line, secret) => {
    const { text } = createRedactor([]);
    expect(text(line)).not.toMatch(secret);
    expect(text(line)).toContain(REDACTED);
  });

  it.each([
    'Cannot read secret "velero/cloud-credentials": it is not there',
    'Cannot open repository "s3://b/p": password does not match key "kopia.repository"',
    'field "secretName: cloud-credentials"',
    "docker.io/library/x@sha256:0123456789",
    "GET http://host:9000/bucket/x@y",
    "source user@host:/path",
    "PWD=/home",
    'AWS_SHARED_CREDENTIALS_FILE="/credentials/cloud"',
    "--password-file=/run/password --secret-file credentials",
  ])("leaves %s as it is", (line) => {
    expect(createRedactor([]).text(line)).toBe(line);
  });

  it("takes every value out of a Secret that is JSON in one line, and leaves what says where", () => {
    const { text } = createRedactor(['{"auths":{"registry.example.com":{"username":"someone","password":"hunter22","auth":"c29tZW9uZTpodW50ZXIyMg=="}}}']);
    expect(text("someone: hunter22, c29tZW9uZTpodW50ZXIyMg== at registry.example.com")).toBe(`${REDACTED}: ${REDACTED}, ${REDACTED} at registry.example.com`);
  });

  it("looks into objects that are kept as text, which a Secret may be, and leaves the text where there is nothing to take out", () => {
    const { object } = createRedactor([]);
    const data = {
      "a.json": '{"apiKey":"hunter22","level":"debug"}',
      manifest: '[{"kind":"Secret","data":{"k":"aHVudGVy"}}]',
      plain: '{ "level": 1 }',
    };
    expect(object({ kind: "ConfigMap", data })).toEqual({
      kind: "ConfigMap",
      data: {
        "a.json": `{"apiKey":"${REDACTED}","level":"debug"}`,
        manifest: '[{"kind":"Secret","data":{"k":"<redacted, 8 characters>"}}]',
        plain: data.plain,
      },
    });
  });

  it("takes out numbers with a telling name, variables that tell anywhere in it, and what follows a telling flag, but not where they lie", () => {
    const { object } = createRedactor([]);
    const variable = (name: string, value: string) => ({ name, value });
    const env = [variable("PASSWORD_1", "a"), variable("MYSQL_PWD", "b"), variable("PWD", "/x"), variable("TOKEN_FILE", "/y")];
    const args = ["--password", "hunter22", "--secret-key=hunter22", "--token-file", "/z", "--password-file=/z", "--verbose", "on"];
    expect(object({ kind: "Pod", pin: { password: 1234 }, env, args })).toEqual({
      kind: "Pod",
      pin: { password: REDACTED },
      env: [variable("PASSWORD_1", REDACTED), variable("MYSQL_PWD", REDACTED), variable("PWD", "/x"), variable("TOKEN_FILE", "/y")],
      args: ["--password", REDACTED, `--secret-key=${REDACTED}`, "--token-file", "/z", "--password-file=/z", "--verbose", "on"],
    });
  });

  it("leaves of a Secret its keys and how long their values are", () => {
    expect(createRedactor([]).object({ kind: "Secret", metadata: { name: "cloud" }, data: { cloud: "YWJj", empty: "" } })).toEqual({
      kind: "Secret",
      metadata: { name: "cloud" },
      data: { cloud: "<redacted, 4 characters>", empty: "<redacted, 0 characters>" },
    });
  });

  it("takes out fields and variables with a telling name, and kubectl's copy of the object, and nothing that names a Secret", () => {
    const object = {
      kind: "Pod",
      metadata: { name: "p", managedFields: [{}], annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}", note: "x" } },
      spec: {
        volumes: [{ secret: { secretName: "cloud-credentials" } }],
        containers: [
          {
            env: [
              { name: "DB_PASSWORD", value: "abc" },
              { name: "LEVEL", value: "debug" },
            ],
          },
        ],
        config: { customerKey: "xyz", region: "eu", passwordSecretRef: { name: "pw", key: "password" } },
      },
    };
    expect(createRedactor([]).object(object)).toEqual({
      kind: "Pod",
      metadata: { name: "p", annotations: { note: "x" } },
      spec: {
        volumes: [{ secret: { secretName: "cloud-credentials" } }],
        containers: [
          {
            env: [
              { name: "DB_PASSWORD", value: REDACTED },
              { name: "LEVEL", value: "debug" },
            ],
          },
        ],
        config: { customerKey: REDACTED, region: "eu", passwordSecretRef: { name: "pw", key: "password" } },
      },
    });
  });

  it("lets no known value through, whatever stands around it", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9+/]{8,40}$/), fc.string(), fc.string(), (secret, before, after) => {
        const { text } = createRedactor([secret]);
        expect(text(`${before} ${secret} ${after}`)).not.toContain(` ${secret} `);
      }),
    );
  });
});
