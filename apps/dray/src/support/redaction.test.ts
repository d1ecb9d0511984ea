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
  ])("knows %s by its shape", (_what, line, secret) => {
    const { text } = createRedactor([]);
    expect(text(line)).not.toMatch(secret);
    expect(text(line)).toContain(REDACTED);
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
