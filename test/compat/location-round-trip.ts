import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { systemClock, systemRandom, utf8 } from "@drayage/base";
import type { ObjectStore } from "@drayage/blob";
import { type NamedLocation, openLocationStorage, openLocationStore } from "@drayage/blob/locations";
import { ResticSource, resticRootOf, restoreFrom } from "@drayage/datapath";
import { createRepository, openRepository } from "@drayage/repo";
import { openResticRepository } from "@drayage/restic";
import { expect } from "vitest";
import { peer } from "./peers.ts";

const RESTIC_PASSWORD = "correct horse";

/** What the server and the movers do at a location: files of backups beside the repository, and a repository that Velero's layout puts at `kopia/<namespace>/`. */
export async function checkLocation(location: NamedLocation, credentialsText: string): Promise<void> {
  const options = { secrets: { credentialsText }, environment: {}, clock: systemClock, random: systemRandom };
  const store = await openLocationStore(location, options);
  await store.check();
  await store.put("backups/b1/velero-backup.json", utf8("{}"));
  expect((await store.listLevel("backups/")).prefixes).toEqual(["backups/b1/"]);

  const access = { password: "secret horse", identity: { userName: "default", host: "default" }, clock: systemClock, random: systemRandom };
  const storage = await openLocationStorage(location, "kopia/notes", { ...options, create: true });
  const made = await createRepository(storage, { ...access, velero: {} });
  const uniqueId = Buffer.from(made.uniqueId).toString("hex");
  await made.close();
  await storage.close();

  expect((await store.head("kopia/notes/kopia.repository")).length).toBeGreaterThan(100);
  expect((await store.listLevel("")).prefixes).toEqual(["backups/", "kopia/"]);
  await store.close();

  const again = await openLocationStorage(location, "kopia/notes", options);
  const opened = await openRepository(again, { ...access, readOnly: true });
  expect(Buffer.from(opened.uniqueId).toString("hex")).toBe(uniqueId);
  await opened.close();
  await again.close();
}

/** What OADP 1.2 left in a bucket: a repository that real restic wrote is put there blob by blob (no emulator is one that restic itself can be pointed at), read and restored. */
export async function checkResticAt(open: (prefix: string) => Promise<ObjectStore>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "dray-restic-at-"));
  const store = await open("openshift-adp/notes/");
  try {
    const source = join(folder, "source");
    mkdirSync(join(source, "deep"), { recursive: true });
    for (let i = 0; i < 40; i++) writeFileSync(join(source, "deep", `file-${i}`), `${i}\n`.repeat(i * 500));
    const repository = join(folder, "repository");
    for (const args of [["init"], ["backup", "."]]) {
      execFileSync(peer("restic"), ["-r", repository, "--no-cache", "-q", ...args], { cwd: source, env: { ...process.env, RESTIC_PASSWORD } });
    }
    for (const entry of readdirSync(repository, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) await store.put(relative(repository, path), readFileSync(path));
    }
    const opened = await openResticRepository(store, { password: RESTIC_PASSWORD });
    const snapshot = await opened.findSnapshot("latest");
    const target = join(folder, "target");
    const { problemCount } = await restoreFrom({ source: new ResticSource(opened), root: resticRootOf(snapshot), target: { kind: "directory", path: target } });
    expect(problemCount).toBe(0);
    for (const name of readdirSync(join(source, "deep")))
      expect(readFileSync(join(target, "deep", name), "utf8"), name).toBe(readFileSync(join(source, "deep", name), "utf8"));
    await opened.close();
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
