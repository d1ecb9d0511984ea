import { systemClock, systemRandom, utf8 } from "@drayage/base";
import { type NamedLocation, openLocationStorage, openLocationStore } from "@drayage/blob/locations";
import { createRepository, openRepository } from "@drayage/repo";
import { expect } from "vitest";

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
