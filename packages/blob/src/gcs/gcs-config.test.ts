import { describe, expect, it } from "vitest";
import { openGcsStorage } from "./gcs-storage.ts";
import { gcsConfigFromLocation } from "./location-config.ts";
import { signedGetUrl } from "./signed-url.ts";

describe("gcsConfigFromLocation()", () => {
  it("reads the keys of Velero's plug-in for GCP", () => {
    const config = { serviceAccount: "s@p", kmsKeyName: "k", storeEndpoint: "https://store.example/storage/v1/", universeDomain: "u", project: "p" };
    expect(gcsConfigFromLocation({ objectStorage: { bucket: "b", prefix: "/velero" }, config }, { credentialsText: ' {"type":"x"}\n' })).toEqual({
      ...{ bucket: "b", prefix: "velero/", credential: { kind: "json", text: '{"type":"x"}' } },
      ...{ serviceAccount: "s@p", kmsKeyName: "k", endpoint: "https://store.example", universeDomain: "u", project: "p" },
    });
    expect(gcsConfigFromLocation({ objectStorage: { bucket: "b" } })).toEqual({ bucket: "b", prefix: "", credential: { kind: "default" } });
  });

  it("names the key that is not known", () => {
    const read = (config: Record<string, string>): unknown => gcsConfigFromLocation({ objectStorage: { bucket: "b" }, config });
    expect(() => read({ kmskeyname: "k" })).toThrow('config key "kmskeyname" is not known, is "kmsKeyName" meant?');
    expect(() => read({ storeEndpoint: "x" })).toThrow('"storeEndpoint" is not an address');
  });
});

describe("Google's credentials", () => {
  it.each([
    ["hush", "they are not JSON"],
    ["[]", "their type is none of"],
    ["null", "they are not an object"],
    ['{"type":"gdch_service_account"}', "their type is none of service_account"],
    ['{"type":"service_account","client_email":"hush"}', "private_key is missing"],
    ['{"type":"external_account","credential_source":{"executable":{"command":"hush"}}}', "from a program, which is not run"],
  ])("%s are refused, and not repeated", async (text, said) => {
    const failing = openGcsStorage({ bucket: "b", credential: { kind: "json", text } });
    await expect(failing).rejects.toMatchObject({ code: "BLOB_BAD_CONFIG", message: expect.stringContaining(said) });
    await expect(failing).rejects.not.toThrow("hush");
  });
});

describe("signedGetUrl()", () => {
  it("signs what the V4 process says, of bucket, name and time", async () => {
    let signed = "";
    const signer = {
      email: "me@p",
      sign: (text: string) => {
        signed = text;
        return Promise.resolve(Buffer.from(text).subarray(0, 2));
      },
    };
    const url = await signedGetUrl({
      endpoint: "https://storage.googleapis.com",
      bucket: "b",
      name: "a b/c'(d)",
      signer,
      nowMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      validForMs: 10_000,
    });
    expect(url).toBe(
      "https://storage.googleapis.com/b/a%20b/c%27%28d%29?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=me%40p%2F20260102%2Fauto%2Fstorage%2Fgoog4_request&X-Goog-Date=20260102T030405Z&X-Goog-Expires=10&X-Goog-SignedHeaders=host&X-Goog-Signature=474f",
    );
    expect(signed).toMatch(/^GOOG4-RSA-SHA256\n20260102T030405Z\n20260102\/auto\/storage\/goog4_request\n[0-9a-f]{64}$/);
  });
});
