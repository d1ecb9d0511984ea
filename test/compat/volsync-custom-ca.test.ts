/** `spec.restic.customCA`: a store whose certificate only that CA vouches for is written to by the real restic and read by our own reader, and by neither without it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseVolSyncResult, type VolSyncRequest } from "@drayage/api";
import { nullLogger, systemClock } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { type ObjectStore, startObjectStore } from "@drayage/embedded/object-store";
import { runVolSyncMover } from "@drayage/movers/volsync";
import { afterAll, beforeAll, expect, it } from "vitest";
import { selfSigned } from "../e2e/self-signed.ts";
import { peer } from "./peers.ts";

const credentials = { accessKeyId: "key", secretAccessKey: "secret/key" };

let folder: string;
let store: ObjectStore;
let certificate: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-custom-ca-"));
  for (const name of ["data", "back", "cache", "repository", "ca", "no-ca", "store"]) mkdirSync(join(folder, name));
  const made = await selfSigned();
  certificate = made.certificate;
  store = await startObjectStore({
    ...{ directory: join(folder, "store"), credentials, buckets: ["bucket"], logger: nullLogger, clock: systemClock },
    tls: { cert: certificate, key: made.key },
  });
  writeFileSync(join(folder, "ca", "ca.crt"), certificate);
  writeFileSync(join(folder, "data", "file"), "content");
  const secret = {
    RESTIC_REPOSITORY: `s3:${store.url}/bucket/path`,
    // As `echo` writes it: to restic the end of the line is part of it.
    RESTIC_PASSWORD: "geheim\n",
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
  for (const [name, value] of Object.entries(secret)) writeFileSync(join(folder, "repository", name), value);
});
afterAll(async () => {
  await store?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function run(request: VolSyncRequest, { data, ca }: { readonly data: string; readonly ca: string }): Promise<{ code: number; message: string }> {
  const path = (name: string): string => join(folder, name);
  const code = await runVolSyncMover({
    ...{ clock: systemClock, random: seededRandom(1), logger: nullLogger, signal: new AbortController().signal },
    env: { DRAYAGE_VOLSYNC_REQUEST: JSON.stringify(request), DRAYAGE_RESTIC: peer("restic"), PATH: "/usr/bin:/bin" },
    terminationLogPath: path("message"),
    paths: { data: path(data), cache: path("cache"), repository: path("repository"), customCa: path(ca) },
  });
  return { code, message: parseVolSyncResult(readFileSync(path("message"), "utf8")).message };
}

it("a backup and a restore trust the CA that is given", async () => {
  const backup = { operation: "backup", format: "restic", identity: "data@shop", retain: {}, prune: true, unlock: false } as const;
  expect(await run(backup, { data: "data", ca: "ca" })).toEqual({ code: 0, message: "The volume was backed up" });
  // Read and opened; what is restored is a snapshot of the pod's /data, and this one is of a folder elsewhere.
  const restored = await run({ operation: "restore", format: "restic", previous: 0 }, { data: "back", ca: "ca" });
  expect(restored).toEqual({ code: 0, message: "Nothing was restored: of 1 snapshots none fits" });
});

it("a restore without it says that the certificate is not trusted", async () => {
  const { code, message } = await run({ operation: "restore", format: "restic", previous: 0 }, { data: "back", ca: "no-ca" });
  expect(code).not.toBe(0);
  expect(message).toMatch(/certificate/i);
});
